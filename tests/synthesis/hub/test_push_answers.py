"""Answers that are none of the Hub's, and names that the Hub refuses: one line, and nothing done twice or lost."""

from __future__ import annotations

import pytest

from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.hub.pushing import PushSettings, push
from tests.hub_faults import Fault, fault_at
from tests.hub_server import published

REPO = PushSettings("user/tiny")
REQUESTS = {
    "whoami": "GET /api/whoami",
    "information": r"GET /api/datasets/user/tiny(/revision/main)?$",
    "making it": "POST /api/repos/create",
    "listing": "GET /api/datasets/user/tiny/tree",
    "what travels how": "POST .*/preupload",
    "where objects go": "POST .*objects/batch",
    "the commit": "POST .*/commit/main",
}
BODIES = {"a page": b"<html>log in</html>", "an empty object": b"{}", "a list": b"[]", "a number": b"5", "nothing": b""}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("request_", REQUESTS)
def test_an_answer_that_is_none_is_asked_for_again(hub, made, naps, request_, body):
    hub.faults = fault_at(REQUESTS[request_], Fault(body=BODIES[body]))
    settings = REPO if request_ != "whoami" else PushSettings("user/tiny", stated=_stated())
    result = push(made, settings)
    history = hub.repositories["user/tiny"].history()
    assert [commit.summary for commit in history] == ["initial commit", "24 rows, by terrasynth"]
    assert result.commit == history[-1].oid


def _stated():
    from terrasynth.synthesis.cards.licences import Statement

    return Statement("cc-by-nc-4.0", by="user")


@pytest.mark.parametrize("request_", ["information", "what travels how", "the commit"])
def test_one_that_stays_is_one_line_that_names_a_proxy(hub, made, naps, request_):
    hub.faults = fault_at(REQUESTS[request_], Fault(body=b"<html>log in</html>"), 10_000)
    if request_ == "the commit":  # it was made, so that its answer is not needed
        assert push(made, REPO).commit == hub.repositories["user/tiny"].history()[-1].oid
        return
    with pytest.raises(RunError, match=r"an answer that is none of the Hub's .* a proxy or a log-in page") as told:
        push(made, REPO)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [
    b"[]", b"5", b"", b"<html>", b'{"identity": "x"}', b'{"files": 5, "identity": "x"}', b'{"files": []}',
    b'{"made_by": "terrasynth", "identity": 5, "hashes": []}',
    b'{"made_by": "terrasynth", "identity": "x", "hashes": {"README.md": 5}}',
    b'{"made_by": "terrasynth", "identity": "x", "hashes": {"README.md": {"size": 1}}}',
])
def test_a_manifest_that_says_nothing_makes_nothing_ours(hub, made, content):
    push(made, REPO)
    hub.edit("user/tiny", {"terrasynth.json": content})
    before = published(hub)
    with pytest.raises(InputError, match=r"holds '.*', which no push of this tool put there"):
        push(made, REPO)
    assert published(hub) == before
    push(made, PushSettings("user/tiny", replace=True))
    assert published(hub)["terrasynth.json"] != content


@pytest.mark.parametrize("name", [
    "tiny", "user/", "/tiny", "a/b/c", "user/na me", "user/.tiny", "user/tiny.", "user/-tiny", "user/tiny-",
    "user/ti--ny", "user/ti..ny", "user/tiny.git", "user/tiny.ipynb", "us\u00e9r/tiny", "user/t\u00efny",
    "user/ti\nny", "user/" + "n" * 96,
])
def test_a_name_that_the_hub_refuses_is_refused_here(hub, made, name):
    with pytest.raises(InputError, match=r"is not of the form user/name|would be refused by the Hub"):
        push(made, PushSettings(name))
    assert hub.asked == []


@pytest.mark.parametrize("name", ["user/tiny", "u/t", "User-1/ti.ny_2", "u/" + "n" * 94, "user/tiny_"])
def test_other_names_are_asked_for(hub, made, name):
    push(made, PushSettings(name, dry=True))
    assert hub.asked


@pytest.mark.parametrize("branch", [
    "", "a b", "a..b", "a~1", "a:b", "-a", "a/", "/a", "a.lock", "a/.b", "@", "a@{1}", "refs/pr/1", "0" * 40, "a\\b",
    "a\x07", "a//b", "a.",
])
def test_a_branch_that_git_refuses_is_refused_here(hub, made, branch):
    with pytest.raises(InputError, match="would be refused by the Hub"):
        push(made, PushSettings("user/tiny", branch=branch))
    assert hub.asked == []


@pytest.mark.parametrize("endpoint", ["", "huggingface.co", "ftp://host", "https://", "http://host:port", "http://[::1"])
def test_an_endpoint_that_is_none_is_not_waited_for(hub, made, naps, monkeypatch, endpoint):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    with pytest.raises(InputError, match="HF_ENDPOINT is no address of a Hub"):
        push(made, REPO)
    assert naps == []
