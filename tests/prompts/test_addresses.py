"""What is written, sent on or printed holds no credentials."""

import pytest

from terrasynth.prompts.addresses import bare, has_secrets, shown, without_secrets
from terrasynth.prompts.errors import InputError
from terrasynth.synthesis.core.errors import InputError as SynthesisInputError
from terrasynth.synthesis.core.errors import RunError

SECRETS = ("pa55word", "QSECRET", "tok-12345", "user:")


@pytest.mark.parametrize(("text", "clean"), [
    ("asking http://user:pa55word@host:9/v1 now", "asking http://***@host:9/v1 now"),
    ("https://tok-12345@host/x", "https://***@host/x"),
    ("https://user:pa@55word@host/x?key=QSECRET&api-version=2", "https://***@host/x?key=***&api-version=2"),
    ("(s3://a.b/c?X-Amz-Signature=QSECRET)", "(s3://a.b/c?X-Amz-Signature=***)"),
    ("Authorization: Bearer tok-12345", "Authorization: ***"),
    ("{'authorization': 'Bearer tok-12345', 'a': 1}", "{'authorization': '***', 'a': 1}"),
    ("bad key Bearer tok-12345.", "bad key Bearer ***"),
    ("bad key Basic dTpwYTU1d29yZA== /v1", "bad key Basic *** /v1"),
    ("a basic harbor with Basic shapes", "a basic harbor with Basic shapes"),
    ("x-api-key=QSECRET; b", "x-api-key=***; b"),
    ("two words, a@b.c, 3:4 and a/b?c=d", "two words, a@b.c, 3:4 and a/b?c=d"),
    ("https://huggingface.co/docs/hub/repositories-licenses", "https://huggingface.co/docs/hub/repositories-licenses"),
])
def test_texts_for_people(text, clean):
    assert shown(text) == clean
    assert shown(clean) == clean


def test_values_of_secret_variables_are_never_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    monkeypatch.setenv("MY_API_KEY", "sk-12345678")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("SHORT_TOKEN", "of")
    assert shown("hf_abcdefgh of sk-12345678 false") == "*** of *** false"


@pytest.mark.parametrize("kind", [InputError, SynthesisInputError, RunError])
def test_errors_hide_them(kind):
    assert str(kind("no http://user:pa55word@host/v1?key=QSECRET")) == "no http://***@host/v1?key=***"


def test_plain_data_is_written_without_them():
    tree = {"prompts": {"base_url": "http://user:pa55word@host:9/v1?key=QSECRET&api-version=2#x", "n": 3},
            "more": ["https://tok-12345@host", None, True], "path": "/a/b", "text": "see https://u:p@h/x ."}
    found = without_secrets(tree)
    assert found == {"prompts": {"base_url": "http://host:9/v1?api-version=2", "n": 3},
                     "more": ["https://host", None, True], "path": "/a/b", "text": "see https://h/x ."}
    assert not [secret for secret in SECRETS if secret in str(found)]
    keys = {"api_key": "sk-1", "Authorization": "x", "client_secret": "y", "token_budget": 3, "api_key_env": "MY_KEY",
            "max_tokens": 9, "note": "Bearer abc hf_" + "a" * 24, "password": ""}
    assert without_secrets(keys) == keys | {"api_key": "***", "Authorization": "***", "client_secret": "***",
                                            "note": "Bearer *** ***", "password": "***"}
    assert has_secrets(tree)
    assert not has_secrets(found)
    assert without_secrets(found) == found


@pytest.mark.parametrize(("address", "clean"), [
    ("http://[::1]:8/v1", "http://[::1]:8/v1"), ("http://u:p@[::1]/v1?a=b", "http://[::1]/v1"),
    ("http://[broken/v1?key=QSECRET", "http://[broken/v1"), ("https://u@h", "https://h"),
])
def test_addresses(address, clean):
    assert bare(address) == clean
