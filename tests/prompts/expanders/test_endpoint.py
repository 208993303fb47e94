"""The openai expander against a server that misbehaves: prompts or one clear line, no hang, nothing paid twice."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from terrasynth.prompts import Expander
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.language_models.chat import Backoff, Chat
from tests.prompts import chat_server as says
from tests.prompts.asking_server import CLASSES, KEY, OPTIONS, make, texts

ROOT = Path(__file__).parents[3]


def test_prompts_are_paid_for_once_whatever_is_asked(server, tmp_path):
    expander = make(server, tmp_path)
    assert isinstance(expander, Expander)
    assert expander.classes == tuple(CLASSES)
    whole = expander.expand("harbor", 0, 0, 12)
    assert len({one.text for one in whole}) == 12
    assert {(one.label, one.source, one.scene, one.captions == (one.text,)) for one in whole} == \
        {("harbor", "openai", "{}", True)}
    assert len(server.paid) == 3
    again = make(server, tmp_path)
    assert again.expand("harbor", 0, 5, 3) == whole[5:8]
    assert again.expand("harbor", 0, 0, 12) == whole
    assert again.expand("harbor", 0, 3, 0) == []
    assert again.identity() == expander.identity()
    assert len(server.requests) == 3
    assert all("storage tank" in one for one in texts(again, "storagetanks"))
    assert all("sand mine" in one for one in texts(again, "sand_mine"))
    assert texts(again, seed=1) != texts(again)
    assert len(server.requests) == 9
    with pytest.raises(InputError, match="class 'beach' is unknown to the openai expander"):
        again.expand("beach", 0, 0, 1)


def test_a_request_says_what_is_wanted(server, tmp_path):
    make(server, tmp_path, words=12, examples=["A  lake in woods."], request={"seed": None, "top_p": 0.9}).expand(
        "storagetanks", 3, 0, 1)
    (body,) = server.requests
    system, user = (message["content"] for message in body["messages"])
    assert body["path"] == "/v1/chat/completions"
    assert "at most 12 words" in system
    assert system.endswith("- A lake in woods.")
    assert user.startswith("Scene class: storage tanks or storage tank.")
    assert body["response_format"]["json_schema"]["strict"] is True
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (1.0, 0.9, 100 + 4 * 4 * 12)
    assert "seed" not in body
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


FAILURES = {
    "429": [says.status(429, Retry_After="0.02")],
    "429 with a date": [says.status(429, Retry_After=formatdate(usegmt=True))],
    "500": [says.status(500), says.status(503)],
    "408 and 409": [says.status(408), says.status(409)],
    "half an answer": [says.half_answer],
    "no chat completion": [says.no_completion],
    "closed without a byte": [says.hang_up],
    "invalid JSON": [says.content("Here are 4 captions: a harbor"), says.content(None), says.content("[1]")],
    "half JSON": [says.half_json],
    "another class": [says.saying(*["A river with two boats on it."] * 4)],
    "too few": [says.too_few],
    "empty": [says.saying()],
    "filtered": [says.content("", "content_filter")],
    "the same again": [says.saying(*["A harbor with two boats."] * 4)],
    "everything": [says.status(500), says.half_answer, says.content("{"), says.hang_up, says.too_few,
                   says.status(429), says.saying("A beach.", "A pretty beach with sand.")],
}


@pytest.mark.parametrize("failure", FAILURES)
def test_the_prompts_come_in_spite_of(failure, server, tmp_path):
    server.script = list(FAILURES[failure])
    prompts = texts(make(server, tmp_path))
    assert server.script == []
    assert len(set(prompts)) == 8
    assert all("harbor" in one for one in prompts)
    paid, asked = len(server.paid), len(server.requests)
    assert len(list(tmp_path.glob("chat-*.json"))) == paid
    assert texts(make(server, tmp_path)) == prompts
    assert (len(server.paid), len(server.requests)) == (paid, asked)
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob("*.sent"))


def test_useless_answers_are_counted_and_not_paid_for_twice(server, tmp_path):
    server.script = [says.content("no"), says.saying("A river with boats.", "Boats.", "A pretty beach with sand."),
                     says.saying("Boats in many rows.", "A cinematic harbor with boats.", "A harbor with one boat.")]
    expander = make(server, tmp_path)
    assert {"Harbor: boats in many rows.", "A harbor with one boat."} < set(texts(expander, count=4))
    assert expander.drops("harbor") == {"invalid JSON": 1, "another class": 2, "too short": 1, "ground-level view": 1}
    assert expander.seen("harbor") == 9
    again = make(server, tmp_path)
    texts(again, count=4)
    texts(again, start=2, count=2)
    assert again.drops("harbor") == expander.drops("harbor")
    assert (again.drops("sand_mine"), again.seen("sand_mine")) == ({}, 0)
    assert len(server.requests) == 4


def test_half_json_makes_requests_smaller(server, tmp_path):
    server.script = [says.half_json, says.half_json]
    assert len(texts(make(server, tmp_path, tries=8), count=4)) == 4
    assert [says.wanted(body)[1] for body in server.requests] == [4, 2, 1, 1, 1, 1]


@pytest.mark.parametrize(("answer", "reason"), [
    (says.content("{"), "invalid JSON 3"),
    (says.saying("A beach.", "A river with boats."), "too short 3, another class 3"),
    (says.saying(), "too few answers"),
    (says.half_json, "cut off 3"),
])
def test_a_model_that_is_never_usable_ends_in_one_line(answer, reason, server, tmp_path):
    server.script = [answer] * 20
    message = r"model 'm' .* gave 0 of 4 prompts for class 'harbor' in 3 requests"
    for _ in range(2):
        with pytest.raises(InputError, match=message) as caught:
            texts(make(server, tmp_path, tries=3))
        assert reason in str(caught.value)
        assert "\n" not in str(caught.value)
    assert len(server.requests) == 3


@pytest.mark.parametrize(("answer", "message"), [
    (says.status(500, "over\nloaded"), r"no answer in 3 attempts, the last one: status 500 \(over loaded\)"),
    (says.status(429), "the last one: status 429"),
    (says.half_answer, r"an answer cut off after \d+ bytes"),
    (says.no_completion, "an answer of 20 bytes that is no chat completion"),
    (says.hang_up, "no connection"),
])
def test_an_endpoint_that_never_answers_ends_in_one_line(answer, message, server, tmp_path):
    server.script = [answer] * 20
    with pytest.raises(InputError, match=message) as caught:
        texts(make(server, tmp_path, retries=2))
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 3


@pytest.mark.parametrize("answer", [says.silent, says.trickle])
def test_no_answer_at_all_does_not_hang(answer, server, tmp_path):
    server.script = [answer]
    assert len(texts(make(server, tmp_path, timeout=0.3, retries=1), count=4)) == 4
    server.script = [answer] * 2
    started = time.monotonic()
    with pytest.raises(InputError, match=r"no answer in 2 attempts, the last one: .*0\.3 s"):
        texts(make(server, tmp_path, timeout=0.3, retries=1), start=4, count=4)
    assert time.monotonic() - started < 20


def test_nobody_at_the_address(tmp_path, server):
    expander = make(server, tmp_path, base_url="http://127.0.0.1:9/v1", retries=1)
    with pytest.raises(InputError, match="no connection"):
        texts(expander)
    assert not list(tmp_path.glob("*.sent"))


@pytest.mark.parametrize(("code", "fix"), [
    (400, "check the options model and request"), (401, "check the key in 'OPENAI_API_KEY'"),
    (403, "check the rights of the key"), (404, "check the options model and base_url"),
])
def test_a_refusal_ends_at_once_and_keeps_the_key_secret(code, fix, server, tmp_path, capfd):
    server.script = [says.status(code, f"wrong key\n{KEY}") for _ in range(5)]
    expander = make(server, tmp_path)
    message = rf"refused the request with status {code} \(wrong key \*\*\*\); {fix}"
    with pytest.raises(InputError, match=message) as caught:
        texts(expander)
    assert len(server.requests) == 1
    assert caught.value.__cause__ is None
    assert KEY not in "".join(map(str, [caught.value, *capfd.readouterr(), expander.identity(), vars(expander)]))


def test_an_empty_account_is_not_asked_again(server, tmp_path):
    server.script = [says.status(429, "you exceeded your quota", code="insufficient_quota")]
    with pytest.raises(InputError, match=r"status 429 .*pay the account up"):
        texts(make(server, tmp_path))
    assert len(server.requests) == 1


def test_the_key_is_nowhere(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OTHER_KEY", "sk-other-0815")
    url = server.url.replace("http://", "http://user:pass-0816@")
    expander = make(server, tmp_path, api_key_env="OTHER_KEY", base_url=f"{url}?token=tok-0817")
    with caplog.at_level(logging.DEBUG):
        texts(expander)
    said = json.dumps(expander.identity()) + "".join(
        path.read_text() for path in tmp_path.rglob("*") if path.is_file()) + " ".join(map(str, tmp_path.rglob("*")))
    assert expander.identity()["endpoint"] == server.url
    ours = [record.getMessage() for record in caplog.records if record.name == "terrasynth"]
    assert ours == [f"openai expander: asking {server.url} for model m"]
    assert not [secret for secret in ("0815", "0816", "0817") if secret in said + "".join(ours)]
    make(server, tmp_path, base_url=server.url).expand("harbor", 0, 0, 8)
    assert len(server.requests) == 2


def test_a_key_is_needed_only_to_ask(server, tmp_path, monkeypatch):
    prompts = texts(make(server, tmp_path, api_key_env="OPENAI_API_KEY"))
    monkeypatch.delenv("OPENAI_API_KEY")
    assert texts(make(server, tmp_path)) == prompts
    assert len(texts(make(server, tmp_path), seed=1)) == 8  # an endpoint on this machine may need none
    with pytest.raises(InputError, match="environment variable 'MY_KEY' holds no key for"):
        texts(make(server, tmp_path, api_key_env="MY_KEY"), seed=2)
    with pytest.raises(InputError, match=r"'OPENAI_API_KEY' holds no key for https://api\.openai\.com/v1"):
        texts(make(server, tmp_path, base_url=None))


def test_a_damaged_cache_file_is_not_paid_for_again_in_silence(server, tmp_path):
    prompts = texts(make(server, tmp_path), count=4)
    (path,) = tmp_path.glob("chat-*.json")
    whole = path.read_text()
    for broken in (whole[:-30], "", "[]", whole.replace('"class": "harbor"', '"class": "river"')):
        path.write_text(broken)
        with pytest.raises(InputError, match=rf"cache file '.*{path.name}' is damaged .*delete it to ask for it again"):
            texts(make(server, tmp_path), count=4)
    assert len(server.requests) == 1
    path.unlink()
    assert texts(make(server, tmp_path), count=4) != prompts
    assert len(server.requests) == 2


CODE = """
import json, sys
from terrasynth.prompts import load_expander
options = json.loads(sys.argv[1])
print(json.dumps([one.text for one in load_expander("openai", **options).expand("harbor", 0, 0, 12)]))
"""


@pytest.fixture
def process(python, server, tmp_path):
    return lambda: python.start("-c", CODE, json.dumps(OPTIONS | {"base_url": server.url, "cache": str(tmp_path)}))


def test_a_kill_between_two_requests_costs_nothing(process, server, tmp_path):
    server.script = [says.good, says.good, says.silent]
    killed = process()
    deadline = time.monotonic() + 60
    while len(server.requests) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len(server.paid) == 2
    out, _ = process().communicate()
    assert len(server.paid) == 3
    assert json.loads(out) == texts(make(server, tmp_path), count=12)
    assert len(server.requests) == 4


def test_two_processes_share_a_cache(process, server):
    outs = [one.communicate()[0] for one in [process() for _ in range(3)]]
    assert outs[0] == outs[1] == outs[2]
    assert len(json.loads(outs[0])) == 12
    assert len(server.requests) == 3


def test_two_threads_do_not_pay_for_the_same(server, tmp_path):
    expanders = [make(server, tmp_path) for _ in range(4)]
    found = []
    threads = [threading.Thread(target=lambda one=one: found.append(texts(one))) for one in expanders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(one == found[0] for one in found)
    assert len(server.requests) == 2


def test_identity_is_what_decides_prompts(server, tmp_path):
    base = make(server, tmp_path).identity()
    assert KEY not in json.dumps(base)
    assert str(tmp_path) not in json.dumps(base)
    same = [{"timeout": 9}, {"retries": 0}, {"tries": 9}, {"token_budget": 5}, {"api_key_env": "X"},
            {"cache": tmp_path / "x"}, {"classes": ["harbor"]}]
    assert all(make(server, tmp_path, **options).identity() == base for options in same)
    other = [{"model": "n"}, {"base_url": server.url + "/x"}, {"words": 9}, {"examples": ["A lake."]},
             {"per_request": 5}, {"temperature": 0.5}, {"max_tokens": 99}, {"request": {"top_p": 0.5}}]
    assert all(make(server, tmp_path, **options).identity() != base for options in other)


def test_waits_double_with_jitter_and_follow_the_server(server, monkeypatch):
    waits = []
    backoff = Backoff(base=1.0, ceiling=8.0)
    chat = Chat(server.url, "OPENAI_API_KEY", 5, 6, backoff, waits.append)
    server.script = [says.status(500)] * 4 + [says.status(429, Retry_After="3"), says.status(429, Retry_After="999")]
    body = {"model": "m", "messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}]}
    server.script.append(says.content("hello"))
    calls = []
    reply = chat.complete(body, lambda: calls.append("before"), lambda: calls.append("unpaid"))
    assert reply.content == "hello"
    assert calls == ["before", "unpaid"] * 6 + ["before"]
    assert all(0 <= wait <= bound for wait, bound in zip(waits, (1, 2, 4, 8), strict=False))
    assert 3 <= waits[4] <= 8
    assert waits[5] == 8
    many = [backoff.wait(1) for _ in range(400)]
    assert max(many) <= 2
    assert min(many) < 0.2 < 1.8 < max(many)
    assert max(backoff.wait(50) for _ in range(50)) <= 8


@pytest.mark.parametrize(("options", "message"), [
    ({"model": ""}, "option model '' of the openai expander must be the name of a model"),
    ({"base_url": "localhost:8000"}, "option base_url of the openai expander must be an address such as"),
    ({"base_url": "http://host:x/v1"}, "option base_url"),
    ({"api_key_env": "sk-1234"}, "option api_key_env of the openai expander must be the name of an environment"),
    ({"classes": "harbor"}, "option classes 'harbor' of the openai expander must be a list of labels"),
    ({"classes": ["a", "a"]}, "must be a list of labels, each once"),
    ({"classes": ["../a"]}, r"label '\.\./a' in option classes of the openai expander must be text without slashes"),
    ({"profile": "ucn"}, r"profile 'ucn' is unknown to the openai expander \(did you mean 'ucm'\?\)"),
    ({"words": 3}, "option words 3 of the openai expander must be a whole number from 5 to 200"),
    ({"examples": "A lake."}, "option examples 'A lake.' of the openai expander must be a list of sentences"),
    ({"per_request": 0}, "option per_request 0"),
    ({"tries": True}, "option tries True"),
    ({"temperature": float("nan")}, "option temperature nan"),
    ({"timeout": "9"}, "option timeout '9' of the openai expander must be a number"),
    ({"retries": -1}, "option retries -1"),
    ({"max_tokens": 0.5}, "option max_tokens 0.5"),
    ({"token_budget": -1}, "option token_budget -1"),
    ({"request": {"model": "x"}}, "option request .* other than messages, model, n, stream"),
    ({"request": {"a": {1}}}, "option request .* as JSON"),
    ({"request": {"max_tokens": None}}, "leaves no limit of tokens"),
    ({"cache": 3}, "option cache 3 of the openai expander must be a folder"),
    ({"api_key": "sk-1234"}, r"option 'api_key' is unknown to the openai expander \(did you mean 'api_key_env'\?\)"),
])
def test_options_are_checked_before_anything_is_asked(options, message, server, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        make(server, tmp_path, **options)
    assert "\n" not in str(caught.value)
    assert "sk-1234" not in str(caught.value)
    assert server.requests == []


def test_the_cache_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    texts(make(server, None), count=4)
    assert len(list((tmp_path / "xdg" / "terrasynth" / "answers").glob("chat-*.json"))) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cache '.*file' cannot be written .*set the option cache to another folder"):
        make(server, tmp_path / "file")


def test_without_the_package_the_error_says_how_to_install_it(tmp_path):
    code = ("import sys; sys.modules['openai'] = None\n"
            "from terrasynth.prompts.expanders.endpoint import OpenAIExpander\n"
            "from terrasynth.prompts.errors import InputError\n"
            f"try: OpenAIExpander('m', profile='ucm', cache={str(tmp_path)!r})\n"
            "except InputError as error: print(error)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "in a checkout of TerraSynth: pip install -c constraints.txt '.[openai]'" in done.stdout
    assert done.stdout.count("\n") == 1
