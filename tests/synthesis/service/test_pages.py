"""Pages as a browser without JavaScript has them: forms come back as jobs, and whatever is written stays text."""

import shutil
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml
from fastapi.testclient import TestClient
from markupsafe import escape

from terrasynth.prompts import load_expander
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.service.app import create_app
from terrasynth.synthesis.service.data_sets import DataSets
from terrasynth.synthesis.service.page import recipe_form
from terrasynth.synthesis.service.page.markdown import card_html
from terrasynth.synthesis.service.page.words import reading
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.specs import LONG, SHORT
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.studies.review.looking import Queue, Review
from tests.synthesis.helpers import decisions

HTML = {"accept": "text/html"}
EVIL = '<script>alert(1)</script>"\'><img src=x onerror=alert(1)>'


class Form(HTMLParser):
    """What a browser would send of the form with an id, and how many elements of which kind there are."""

    def __init__(self, page: str, form: str = "") -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []
        self.tags: Counter[str] = Counter()
        self.inside, self.form, self.select, self.text = form == "", form, "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags[tag] += 1
        assert not any(name.startswith("on") or name == "style" for name in given), given  # the policy forbids these
        if tag == "form":
            self.inside = given.get("id") == self.form
        if not self.inside:
            return
        if tag == "input" and given.get("name") and (
                given.get("type") not in ("checkbox", "radio") or "checked" in given):
            self.sent.append((given["name"], given.get("value", "")))
        elif tag == "select":
            self.select = given["name"]
            self.sent.append((self.select, ""))
        elif tag == "option" and self.select and "selected" in given:
            self.text = "option"
        elif tag == "textarea":
            self.sent.append((given["name"], ""))
            self.text = "textarea"

    def handle_data(self, data):
        if self.inside and self.text:
            name, before = self.sent.pop()
            self.sent.append((name, before + data))

    def handle_endtag(self, tag):
        if tag in ("option", "textarea"):
            self.text = ""
        elif tag == "select":
            self.select = ""
        elif tag == "form" and self.form:
            self.inside = False

    def with_(self, act: str, **changed: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self.sent:
            found.setdefault(name, []).append(value)
        return found | {name.replace("__", "."): [value] for name, value in changed.items()} | {"act": [act]}


def form_of(client, path, form="recipe"):
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200
    return Form(answer.text, form)


RECIPES = [
    {"generator": {"model": "ldm-ucm"}},
    {"name": "coast", "seed": 7, "unknown": "refuse",
     "generator": {"model": "ldm-ucm", "lora": "coast-lora", "lora_scale": 0.5, "steps": 4, "guidance": 0.0,
                   "conditioning": {"gsd": 0.3}, "options": {"top_k": 10, "exact": True}},
     "prompts": {"expander": "grammar", "profile": "open", "classes": ["beach", "a class of mine"],
                 "checks": {"near": 0.5, "distinct": True, "view": False}},
     "filters": [{"kind": "alignment", "encoder": "clip-ucm", "min_score": 0.25},
                 {"kind": "quality", "measure": "sharpness", "pass_real": 0.9},
                 {"kind": "quality", "measure": "cast", "max_score": 0.1}],
     "target": {"per_class": {"beach": 3, "a class of mine": 4}, "max_attempts": 9},
     "output": {"image_format": "webp"}, "runtime": {"exact": True, "compile": False, "block_size": 4},
     "identity": "0123456789abcdef"},
]


@pytest.mark.parametrize("tree", RECIPES)
def test_a_recipe_goes_through_the_form_unchanged(client, tree):
    shown = client.post("/new", data={"act": "yaml", "yaml": yaml.safe_dump(tree)}, headers=HTML)
    form = Form(shown.text, "recipe")
    assert Recipe.parse(recipe_form.tree_of(form.with_("check"))) == Recipe.parse(tree)


def test_every_setting_of_a_recipe_has_a_field():
    fields = {field.name.split(".")[0] for field in (
        *recipe_form.basics(), *recipe_form.generator_fields(), *recipe_form.target_fields(),
        *recipe_form.prompt_fields(), *recipe_form.machine_fields())}
    assert fields | {"filters", "identity"} == set(Recipe.model_fields)


def test_a_form_becomes_a_job_and_a_second_click_no_second_one(client, job_store):
    form = form_of(client, "/new")
    sent = form.with_("start", data_set="coast", generator__steps="4")
    for _ in range(2):
        answer = client.post("/new", data=sent, headers=HTML, follow_redirects=False)
        assert answer.status_code == 303
    (job,) = job_store.list()
    assert answer.headers["location"] == f"/jobs/{job.id}"
    assert (job.kind, job.data_set) == ("run", "coast")
    assert job.spec["recipe"]["generator"] == {"model": "ldm-ucm", "steps": 4}
    assert "waits until a worker is free" in client.get(f"/jobs/{job.id}", headers=HTML).text
    client.post(f"/jobs/{job.id}/cancel", headers=HTML)
    assert job_store.get(job.id).state == "canceled"
    client.post(f"/jobs/{job.id}/retry", headers=HTML)
    assert job_store.get(job.id).state == "queued"


def test_looking_at_a_form_makes_no_job(client, job_store):
    client.post("/new", data=form_of(client, "/new").with_("check"), headers=HTML)
    client.post("/try", data={"text": "A beach.", "model": "ldm-ucm", "seed": "0"}, headers=HTML)
    assert job_store.list() == []


def test_a_mistake_is_one_line_beside_the_form(client, job_store, data_set):
    form = form_of(client, "/new")
    shown = client.post("/new", data=form.with_("start", generator__steps="0"), headers=HTML).text
    assert "generator.steps 0 is wrong" in shown
    shown = client.post("/new", data=form.with_("start", data_set="tiny"), headers=HTML).text
    assert "is there already" in shown
    shown = client.post("/new", data=form.with_("start", data_set="../tiny"), headers=HTML).text
    assert "is no name of a folder" in shown
    assert job_store.list() == []


def test_what_is_written_stays_text(client, data_set):
    pages = [
        client.post("/new", data={"act": "yaml", "yaml": yaml.safe_dump({"name": EVIL, "generator": {"model": EVIL},
                                                                         "prompts": {"classes": [EVIL]}})}),
        client.post("/new", data={"act": "yaml", "yaml": f"{EVIL}: ["}),
        client.get("/try", params={"text": EVIL, "label": EVIL, "model": EVIL}),
        client.get("/data-sets/tiny/review", params={"reviewer": EVIL[:60]}),
        client.get("/data-sets/tiny", params={"text": EVIL}),
        client.post("/data-sets/tiny/publish", data={"act": "export", "format": EVIL, "out": EVIL}),
    ]
    for answer in pages:
        assert answer.status_code == 200
        found = Form(answer.text)
        assert EVIL not in answer.text
        assert found.tags["script"] <= 2  # ours, by their addresses


def test_pages_load_nothing_from_elsewhere_and_hold_no_script(client, data_set):
    for path in ("/", "/new", "/try", "/compare", "/data-sets/tiny", "/data-sets/tiny/thresholds", "/sign-in",
                 "/data-sets/tiny/review", "/data-sets/tiny/publish"):
        answer = client.get(path, headers=HTML)
        assert answer.status_code == 200
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        for tag in answer.text.split("<script")[1:]:
            assert tag.split("</script>")[0].endswith(">")  # nothing between the tags
        assert "<style" not in answer.text
        Form(answer.text)  # no attribute is script or style


def test_errors_are_pages(client):
    answer = client.get("/data-sets/none", headers=HTML)
    assert answer.status_code == 404
    assert "does not exist" in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert client.get("/static/..%2Fpages.py").status_code == 404
    assert client.get("/static/page.css").headers["content-type"].startswith("text/css")


def test_a_browser_gets_a_page_for_what_has_no_route_and_for_what_nobody_expected(client, monkeypatch):
    lost = client.get("/nowhere", headers=HTML)
    assert lost.status_code == 404
    assert '<p class="problem" role="alert" id="problem">there is nothing at this address' in lost.text
    assert client.get("/nowhere").json()["code"] == "not_found"
    assert client.get("/v1/nowhere", headers=HTML).json()["code"] == "not_found"

    def broken(data_sets):
        raise RuntimeError("<b>")

    monkeypatch.setattr(DataSets, "all", broken)
    with TestClient(client.app, base_url=str(client.base_url), raise_server_exceptions=False) as browser:
        answer = browser.get("/", headers=HTML)
        assert answer.status_code == 500
        assert "<h1>Something went wrong</h1>" in answer.text
        assert "unexpected RuntimeError; the log of the server has more" in answer.text
        assert browser.get("/v1/data-sets").json()["code"] == "unexpected"
        with pytest.raises(RuntimeError):  # which is how it gets into the log
            client.get("/", headers=HTML)


def test_a_data_set_shows_its_classes_and_images(client, data_set):
    text = client.get("/data-sets/tiny", headers=HTML).text
    table = decisions(data_set)
    assert text.count('class="tile') == len(table)
    for reason, number in Counter((each["label"], each["reason"]) for each in table if each["reason"]).items():
        label, why = reason
        if why == "alignment":
            assert f"?label={label}&amp;reason=alignment#rows\">alignment {number}</a>" in text
    rejected = client.get("/data-sets/tiny?verdict=rejected", headers=HTML).text
    assert rejected.count('class="tile') == sum(each["reason"] in ("alignment", "duplicate") for each in table)
    row = next(each for each in table if each["accepted"])
    shown = client.get(f"/data-sets/tiny/rows/{row['id']}", headers=HTML).text
    command = client.get(f"/v1/data-sets/tiny/rows/{row['id']}").json()["command"]
    assert f'<code id="command">{escape(command)}</code>' in shown
    assert f"{row['scores']['alignment']:.3f}" in shown


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_a_threshold_says_who_leaves(client, data_set, job_store, share):
    """`duplicate` passes at most its threshold; counted again from the table of decisions."""
    table = decisions(data_set)
    scores = sorted(each["scores"]["duplicate"] for each in table if each["scores"]["duplicate"] is not None)
    at = scores[int(share * (len(scores) - 1))]
    text = client.get(f"/data-sets/tiny/thresholds?filter=duplicate&at={at!r}", headers=HTML).text
    leave = [each["id"] for each in table if each["accepted"] and (each["scores"]["duplicate"] or -2) > at]
    assert f'<dd class="bad">{len(leave)}</dd>' in text
    assert all(f"/rows/{row}" in text for row in leave)
    answer = client.post("/data-sets/tiny/thresholds", data={"filter": "duplicate", "at": at, "act": "file"})
    assert yaml.safe_load(answer.text)["filters"][1]["max_similarity"] == round(at, 6)


def test_a_threshold_takes_the_place_of_what_gave_it(client, data_set):
    answer = client.post("/data-sets/tiny/thresholds", data={"filter": "alignment", "at": "0.125", "act": "file"})
    settings = yaml.safe_load(answer.text)["filters"][0]
    assert settings["min_score"] == 0.125
    assert "quantile" not in settings
    assert "calibrate_on" not in settings


def test_a_review_says_what_its_sample_waits_for(client, data_set):
    review, words = Review(data_set), "The sample waits for 1 image that nobody has looked at; 2 more count after that."
    images = review.next("ada", Queue(sample=4), 4).images
    for image in (images[0], *images[2:]):
        review.judge(image.row, "accept", "ada")
    assert words in client.get("/data-sets/tiny/review").text
    review.judge(images[1].row, "accept", "ada")
    assert "sample waits" not in client.get("/data-sets/tiny/review").text


def test_a_review_without_javascript(client, data_set):
    form = form_of(client, "/data-sets/tiny/review?reviewer=ada&blind=1", "judge")
    row = dict(form.sent)["row_id"]
    client.post("/data-sets/tiny/review", data=form.with_("reject:blurred"), headers=HTML)
    (said,) = Review(data_set).standing.verdicts[row].values()
    assert (said.reviewer, said.verdict, said.reason, said.blind) == ("ada", "reject", "blurred", True)
    client.post("/data-sets/tiny/review", data=form.with_("undo"), headers=HTML)
    assert Review(data_set).standing.verdicts.get(row, {}) == {}


@pytest.mark.parametrize("blind", ["", "1"])
def test_a_review_ends_with_a_page_and_its_last_verdict_can_be_undone(client, data_set, blind):
    address = f"/data-sets/tiny/review?reviewer=ada&blind={blind}"
    rows = [image.row for image in Review(data_set).next("ada", Queue(), 100).images]
    assert rows
    for row in rows:
        form = form_of(client, address, "judge")
        assert dict(form.sent)["row_id"] == row
        assert client.post("/data-sets/tiny/review", data=form.with_("accept"), headers=HTML).status_code == 200
    answer = client.get(address, headers=HTML)
    assert answer.status_code == 200
    assert '<div id="finished" class="card empty"><p>All images of this choice are reviewed.' in answer.text
    undo = Form(answer.text, "judge").with_("undo")
    assert client.post("/data-sets/tiny/review", data=undo, headers=HTML).status_code == 200
    assert dict(form_of(client, address, "judge").sent)["row_id"] == rows[-1]


def test_the_nearest_real_image_is_beside_the_image(settings, data_set, job_store, tmp_path):
    (tmp_path / "data" / "folder").mkdir(parents=True)
    app = create_app(replace(settings, places=Places(data=tmp_path / "data")), job_store)
    with TestClient(app, base_url="http://127.0.0.1:8765") as client:
        row = client.get("/v1/data-sets/tiny/rows").json()["rows"][0]
        address = f"/data-sets/tiny/rows/{row['id']}"
        assert 'name="real"' in client.get(address, headers=HTML).text
        assert "has no such data" in client.post(address, data={"real": "../up"}, headers=HTML).text
        looking = client.post(address, data={"real": "folder"}, headers=HTML)
        (job,) = job_store.list()
        assert (job.spec["label"], job.spec["k"], job.spec["split"]) == (row["label"], row["k"], "train")
        assert f'data-follow="/v1/jobs/{job.id}/events"' in looking.text
        job_store.finish(job_store.lease("w", 600, SHORT), State.SUCCEEDED, {
            "text": "a <b> pier", "label": "harbor", "correlation": 0.75, "view": 0, "among": 27, "images": ["0.png"]})
        shown = client.get(f"{address}?job={job.id}", headers=HTML).text
        assert "a &lt;b&gt; pier" in shown
        assert f"/v1/jobs/{job.id}/images/0" in shown
        assert client.get(f"{address}?job={'0' * 26}", headers=HTML).status_code == 404


def test_publish_makes_jobs_that_do_what_was_asked(client, data_set, job_store):
    client.post("/data-sets/tiny/publish", headers=HTML, data={
        "act": "export", "format": "coco", "out": "", "splits": "train=0.8,test=0.2", "licence-id": "mit"})
    client.post("/data-sets/tiny/publish", headers=HTML, data={"act": "dry-run", "repo": "me/coast", "offline": "1"})
    push, export = job_store.list()
    assert client.post("/data-sets/tiny/publish", headers=HTML, data={
        "act": "evaluate", "reference": "ucm-test-128", "real": "", "split": ""}, follow_redirects=False
        ).status_code == 303
    judged = job_store.list()[0]
    assert (judged.kind, judged.spec["reference"], judged.spec["real"]) == ("evaluate", "ucm-test-128", None)
    for other in (push, export):
        job_store.cancel(other.id)
    job_store.finish(job_store.lease("w", 600, LONG), State.SUCCEEDED, {"lines": ["scene accuracy 0.9 <b>"]})
    assert "<li>scene accuracy 0.9 &lt;b&gt;</li>" in client.get(
        f"/data-sets/tiny/publish?job={judged.id}", headers=HTML).text
    assert (export.spec["out"], export.spec["splits"]) == ("tiny-coco", {"train": 0.8, "test": 0.2})
    assert export.spec["licence"]["id"] == "mit"
    assert (push.spec["repo"], push.spec["dry_run"], push.spec["offline"]) == ("me/coast", True, True)
    shown = client.get("/data-sets/tiny/publish", headers=HTML).text
    assert "synthetic remote-sensing" in shown  # the card
    assert "Made with" in shown


def test_a_data_set_is_deleted_by_its_name_alone(client, data_set):
    assert client.post("/data-sets/tiny/delete", data={"confirm": "tin"}, headers=HTML).status_code == 422
    assert data_set.is_dir()
    client.post("/data-sets/tiny/delete", data={"confirm": "tiny"}, headers=HTML)
    assert not data_set.exists()


def test_a_quote_of_a_card_is_one():
    text = "> **Warning:** No `filter` looked\n> at it.\n\nAfter.\nmore\n> quoted\n\n" + "> " * 5000 + "deep"
    assert str(card_html(text, "a")) == (
        "<blockquote><p><b>Warning:</b> No <code>filter</code> looked at it.</p></blockquote>\n<p>After. more</p>\n"
        "<blockquote><p>quoted</p></blockquote>\n<blockquote><p>deep</p></blockquote>")


def test_a_card_is_shown_without_what_it_might_do():
    text = "---\nlicense: mit\n---\n# A\n\n| a | b |\n|---|---|\n| `x` | **y** |\n\n- one\n  more\n- two\n\n" \
           "[here](javascript:alert(1)) [there](https://example.org/a) ![x](https://example.org/x.png) " \
           "![ok](report/one.png)\n\n<b>raw</b>\n\n```\ncode <i>\n```\n"
    assert str(card_html(text, "a b")) == (
        "<h3>A</h3>\n"
        '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table><thead><tr><th scope="col">a</th>'
        '<th scope="col">b</th></tr></thead><tbody><tr><td><code>x</code></td><td><b>y</b></td></tr></tbody></table>'
        "</div>\n<ul><li>one more</li><li>two</li></ul>\n"
        '<p>here) <a href="https://example.org/a" rel="noreferrer noopener">there</a> x '
        '<img src="/v1/data-sets/a%20b/report/one.png" alt="ok" loading="lazy"></p>\n'
        '<p>&lt;b&gt;raw&lt;/b&gt;</p>\n<pre tabindex="0"><code>code &lt;i&gt;</code></pre>')


def test_words_that_a_model_never_read_are_marked():
    found = reading("Zebras near a white beach, zebra's beach.", "zebra", "ldm-ucm", "", Places())
    assert "".join(piece.text for piece in found.pieces) == "Zebras near a white beach, zebra's beach."
    assert found.unread[:1] == ["Zebras"]
    assert "beach" not in found.unread
    assert found.class_known is False
    assert reading("a", "", "owner/on-the-hub", "", Places()).known is False


def test_kept_prompts_are_what_the_expander_reads(client, tmp_path):
    for text, label in (("A beach.", "beach"), ("A port with \"two\" boats.", "harbor")):
        client.post("/try", data={"act": "keep", "text": text, "label": label, "model": "ldm-ucm"}, headers=HTML)
    path = tmp_path / "kept.jsonl"
    path.write_bytes(client.get("/kept-prompts.jsonl").content)
    expander = load_expander("file", path=str(path))
    assert expander.classes == ("beach", "harbor")
    assert expander.expand("harbor", 0, 0, 1)[0].text == 'A port with "two" boats.'


def test_two_runs_side_by_side(client, data_set, runs):
    shutil.copytree(data_set, runs / "other")
    recipe = yaml.safe_load((runs / "other" / "recipe.yaml").read_text())
    recipe["target"]["max_attempts"] = 99
    (runs / "other" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    text = client.get("/compare?a=tiny&b=other&label=beach", headers=HTML).text
    assert "<code>target.max_attempts</code>" in text
    beach = [each for each in decisions(data_set) if each["label"] == "beach"]
    assert text.count('data-large href="/data-sets/other/rows/') == min(12, len(beach))


def test_numbers_that_no_page_has_written_are_none(client, data_set, job_store):
    form = {"act": "undo", "reviewer": "ada", "of": "accepted", "sample": "9" * 5000, "seed": "9" * 5000}
    assert client.post("/data-sets/tiny/review", data=form, headers=HTML, follow_redirects=False).status_code == 303
    form = {"act": "export", "format": "coco", "out": "coco", "seed": "9" * 5000}
    answer = client.post("/data-sets/tiny/publish", data=form, headers=HTML)
    assert (answer.status_code, job_store.list()) == (200, [])  # the form again, with what is wrong
    assert "seed" in answer.text
