"""Reviewing over HTTP: the whole way of one image, several reviewers, and what is refused."""

import re
import signal
import subprocess
import sys

import httpx
import pytest

from terrasynth.synthesis import Recipe, run
from terrasynth.synthesis.studies.review.looking import Queue, Review
from terrasynth.synthesis.studies.review.summary import summarize
from tests.synthesis.helpers import decisions
from tests.synthesis.service.web import tiny_recipe

REVIEWS = "/v1/data-sets/tiny/reviews"


def ask(client, **query):
    return client.get(f"{REVIEWS}/next", params={"reviewer": "ada", **query}).json()


def say(client, row, verdict="accept", reviewer="ada", **more):
    return client.post(REVIEWS, json={"row_id": row, "verdict": verdict, "reviewer": reviewer, **more})


def test_the_way_of_an_image(client, data_set):
    found = ask(client, count=3)
    first, second, _ = found["rows"]
    assert (found["done"], found["left"]) == (0, len(Review(data_set).next("ada", Queue(), count=999).images))
    assert (first["verdict"], first["mine"], first["by_hand"]) == ("accepted", None, False)
    assert client.get(f"/v1/data-sets/tiny/images/{first['id']}").headers["content-type"] == "image/png"
    said = say(client, first["id"], "reject", reason="blurred", blind=True).json()
    assert (said["number"], said["type"], said["verdict"], said["reason"]) == (1, "verdict", "reject", "blurred")
    assert Review(data_set).standing.score(first["id"]) == 0
    after = ask(client)
    assert (after["rows"][0]["id"], after["done"]) == (second["id"], 1)
    row = client.get(f"{REVIEWS}/rows/{first['id']}", params={"reviewer": "ada"}).json()
    assert row["mine"] == {"verdict": "reject", "reason": "blurred"}
    undone = client.post(f"{REVIEWS}/undo", json={"reviewer": "ada"}).json()
    assert (undone["entry"], undone["row"]["id"], undone["row"]["mine"]) == (said, first["id"], None)
    assert ask(client)["rows"][0]["id"] == first["id"]
    assert client.post(f"{REVIEWS}/undo", json={"reviewer": "ada"}).json() == {"entry": None, "row": None}


def test_a_blind_review_is_told_nothing(client, data_set):
    seen, unseen = (ask(client, of="rejected", blind=blind)["rows"][0] for blind in (False, True))
    assert seen["id"] == unseen["id"]
    assert seen["verdict"] == "rejected"
    assert seen["reason"] in seen["scores"]
    assert (unseen["verdict"], unseen["reason"], unseen["scores"]) == (None, None, {})


def test_captions(client, data_set):
    row = ask(client)["rows"][0]
    said = client.post(f"{REVIEWS}/captions", json={
        "row_id": row["id"], "reviewer": "ada", "captions": ["sand beside water"], "struck": row["claims"][:1],
        "absent": ["boat"]}).json()
    assert (said["type"], said["captions"], said["verdict"]) == ("captions", ["sand beside water"], None)
    again = ask(client)["rows"][0]
    assert (again["id"], again["captions"], again["by_hand"]) == (row["id"], ["sand beside water"], True)
    assert again["text"] == row["text"]


def test_summary_is_that_of_python(client, data_set):
    for place, row in enumerate(ask(client, sample=6, count=6)["rows"]):
        for name in ("ada", "bob"):
            say(client, row["id"], "reject" if place == (name == "bob") else "accept", name)
    found, wanted = client.get(f"{REVIEWS}/summary").json(), summarize(data_set)
    assert found["good"] == {"value": wanted.good.value, "low": wanted.good.low, "high": wanted.good.high, "n": 6}
    assert found["together"]["value"] == wanted.together.value == pytest.approx(-0.2)
    assert [each["name"] for each in found["reviewers"]] == ["ada", "bob"]
    assert (found["in_recipe"], found["pending"]) == (False, 0)


@pytest.mark.parametrize(("request_", "status", "detail"), [
    ({"row_id": "0" * 16, "verdict": "accept", "reviewer": "ada"}, 422, "the run has no image '0000000000000000'"),
    ({"row_id": "../../x", "verdict": "accept", "reviewer": "ada"}, 422, "row_id"),
    ({"row_id": "0" * 16, "verdict": "maybe", "reviewer": "ada"}, 422, "verdict"),
    ({"row_id": "0" * 16, "verdict": "accept"}, 422, "reviewer is missing"),
    ({"row_id": "0" * 16, "verdict": "accept", "reviewer": "ada", "sample": 3}, 422, "unknown key 'sample'"),
    ({"row_id": "0" * 16, "verdict": "accept", "reviewer": "x" * 65}, 422, "reviewer"),
])
def test_wrong_verdicts_are_refused(client, data_set, request_, status, detail):
    answer = client.post(REVIEWS, json=request_)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert not (data_set / "review").exists()


def test_a_body_that_no_header_calls_json_is_refused_by_that_header(client, data_set):
    body = b'{"row_id": "0f1e2d3c4b5a6978", "verdict": "accept", "reviewer": "ada"}'
    for path in (REVIEWS, f"{REVIEWS}/captions", f"{REVIEWS}/undo", "/v1/jobs"):
        for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
            answer = client.post(path, content=body, headers=headers)
            assert answer.status_code == 422, path
            assert "send Content-Type: application/json" in answer.json()["detail"], path
    wrong = client.post(REVIEWS, content=b"[]", headers={"Content-Type": "application/json"})
    assert "Content-Type" not in wrong.json()["detail"]


def test_names_and_words_that_are_not_plain_are_refused(client, data_set):
    row = ask(client)["rows"][0]["id"]
    for more in ({"reviewer": "\x1b[31m"}, {"reviewer": " "}, {"reason": "a\u202eb", "verdict": "reject"}):
        assert say(client, row, **more).status_code == 422
    assert not (data_set / "review").exists()
    kept = say(client, row, "reject", reason="<script>alert(1)</script>").json()
    assert kept["reason"] == "<script>alert(1)</script>"  # a text like any other: pages escape it


def test_no_data_set_and_a_damaged_file(client, data_set):
    assert client.get("/v1/data-sets/none/reviews/summary").status_code == 404
    assert client.get(f"{REVIEWS}/rows/{'0' * 16}", params={"reviewer": "ada"}).status_code == 404
    say(client, ask(client)["rows"][0]["id"], "reject")
    path = data_set / "review" / "verdicts.jsonl"
    path.write_bytes(path.read_bytes().replace(b"reject", b"accept"))
    for answer in (client.get(f"{REVIEWS}/summary"), client.get(f"{REVIEWS}/next", params={"reviewer": "ada"})):
        assert answer.status_code == 409
        assert "line 2 is not what was written" in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"


def test_verdicts_decide_when_the_filter_is_in_the_recipe(client, data_set, models):
    row = ask(client)["rows"][0]["id"]
    say(client, row, "reject", reason="blurred")
    tree = tiny_recipe(models)
    run(Recipe.parse({**tree, "filters": [*tree["filters"], {"kind": "review"}]}), data_set)
    assert {each["id"]: each["reason"] for each in decisions(data_set)}[row] == "review"
    found = client.get("/v1/data-sets/tiny/rows", params={"reason": "review"}).json()["rows"]
    assert [each["id"] for each in found] == [row]
    assert found[0]["scores"]["review"] == 0
    assert client.get(f"{REVIEWS}/summary").json()["in_recipe"]


def test_the_command_serves_just_this(data_set):
    """A process of its own on a free port; its end is asked for by a signal."""
    with subprocess.Popen([sys.executable, "-m", "terrasynth", "review", data_set], stdout=subprocess.PIPE, text=True
                          ) as process:
        line = process.stdout.readline()
        address, = re.findall(r"review +(http://127\.0\.0\.1:\d+)/data-sets/tiny/review ", line)
        assert httpx.get(f"{address}{REVIEWS}/next", params={"reviewer": "ada"}, timeout=60).json()["left"] > 0
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
