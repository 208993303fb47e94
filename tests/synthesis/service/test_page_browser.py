"""The whole way in a real Chromium: a data set is made, watched, reviewed by keys, exported, and a push is tried."""

import time
from pathlib import Path

import pytest

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.review.entries import Undo, Verdict
from terrasynth.synthesis.service import children
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.settings import ServiceSettings
from terrasynth.synthesis.studies.review.looking import Review
from tests import browser
from tests.synthesis.service.helpers import supervised, work_settings
from tests.synthesis.service.web import web_server

CLASSES, PER_CLASS = ("beach", "forest", "harbor"), 12
PATIENCE_MS = 300_000  # no test of time: images are drawn beside all other tests
pytestmark = pytest.mark.slow


@pytest.fixture
def page(chromium, runs, job_store, tmp_path, started_at_once):
    """A page of a server with a worker; what its console says is an error of ours."""
    models = tmp_path / "models"
    models.mkdir()
    with (started_at_once(children), supervised(work_settings(runs, models), job_store),
          web_server(ServiceSettings(runs, port=0, places=Places(models)), job_store) as address):
        context = chromium.new_context(base_url=address, viewport={"width": 1300, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        made, said = context.new_page(), []
        made.on("console", lambda message: said.append(message.text))
        made.on("pageerror", lambda error: said.append(str(error)))
        made.on("dialog", lambda dialog: dialog.accept())
        yield made
        context.close()
        assert said == []


def is_accessible(page):
    """With all that is folded open, too."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    browser.is_accessible(page)


def test_a_data_set_is_made_reviewed_and_published(page, runs):
    _make(page)
    recipe = Recipe.load(runs / "coast" / layout.RECIPE)
    assert (recipe.class_names, recipe.target.per_class, recipe.generator.steps) == (list(CLASSES), PER_CLASS, 1)
    _look_large(page)
    _review(page, runs / "coast")
    _publish(page, runs)


def _make(page):
    page.goto("/")
    is_accessible(page)
    page.get_by_role("link", name="Make the first one").click()
    is_accessible(page)
    page.fill("#data_set", "coast")
    page.fill("#target-per_class", str(PER_CLASS))
    page.fill("#generator-steps", "1")
    for name in ("alignment", "duplicate"):  # one step gives images that these would not let pass
        page.get_by_role("button", name=f"Remove {name}").click()
        page.get_by_role("button", name=f"Remove {name}").wait_for(state="detached")
    ticked = page.locator("input[name='prompts.classes']:checked")
    assert ticked.evaluate_all("found => found.map((each) => each.value)") == list(CLASSES)
    page.get_by_role("button", name="Plan", exact=True).click()
    page.locator("#plan-prompts").wait_for()
    assert page.locator("#plan-prompts li").count() == 3 * len(CLASSES)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/data-sets/coast")
    page.locator("#rows .tile").first.wait_for()  # the first images, while the run goes on
    page.locator(".state.finished").first.wait_for()
    assert page.locator("#live .figures dd").first.inner_text() == str(len(CLASSES) * PER_CLASS)
    assert page.locator("#rows .tile").count() == len(CLASSES) * PER_CLASS
    is_accessible(page)


def _look_large(page):
    first = page.locator("#rows a.tile").first
    first.focus()
    page.keyboard.press("Enter")
    large = page.locator("dialog[open]")
    large.locator("img.whole").wait_for()
    seed = large.locator("dd").first.inner_text()
    assert f"--seed={seed}" in large.locator("#command").inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("seed => document.querySelector('dialog dd').textContent !== seed", arg=seed)
    is_accessible(page)
    page.keyboard.press("Escape")
    large.wait_for(state="hidden")


def _review(page, run):
    page.get_by_role("link", name="Review").click()
    is_accessible(page)
    page.fill("#reviewer", "ada")
    page.check("#blind")
    page.keyboard.press("Enter")
    page.locator("#skip").wait_for()  # from here on keys are heard
    assert page.locator("#said").inner_text() == ""
    keys = ["a", "a", "2"] * 10
    for done, key in enumerate(keys, 1):
        page.keyboard.press(key)
        page.wait_for_function("done => document.querySelector('#done').textContent === String(done) "
                               "&& document.querySelector('#row_id').value", arg=done)
    page.keyboard.press("u")
    page.wait_for_function("() => document.querySelector('#done').textContent === '29'")
    page.locator("#summary tbody td").first.filter(has_text="29").wait_for()  # told at once
    is_accessible(page)
    entries = Review(run).file.read()
    verdicts = [each for each in entries if isinstance(each, Verdict)]
    assert [each.verdict for each in verdicts] == ["accept", "accept", "reject"] * 10
    assert {each.reason for each in verdicts if each.verdict == "reject"} == {"not what the text says"}
    assert all(each.blind and each.reviewer == "ada" for each in verdicts)
    assert [each.undoes for each in entries if isinstance(each, Undo)] == [verdicts[-1].number]


def _publish(page, runs):
    page.get_by_role("link", name="Publish").click()
    is_accessible(page)
    page.select_option("#format", "imagefolder")
    page.get_by_role("button", name="Export", exact=True).click()
    refused = page.locator("#published .problem")
    refused.wait_for()
    assert "most who looked at 9 images of the data set rejected them; `terrasynth run " in refused.inner_text()
    is_accessible(page)
    page.check("#ignore-review-export")
    page.get_by_role("button", name="Export", exact=True).click()
    page.locator("#published").get_by_text("exports/coast-imagefolder").wait_for()
    images = sorted(Path(runs, "exports", "coast-imagefolder").rglob("*.png"))
    assert len(images) == len(CLASSES) * PER_CLASS
    page.fill("input[name=repo]", "someone/coast")
    page.check("#offline")
    page.check("#ignore-review-push")
    page.locator("#licence-push input[name=licence-id]").fill("cc-by-nc-4.0")  # its card names none
    page.get_by_role("button", name="Dry run", exact=True).click()
    told = page.locator("#published").get_by_text("Would send")
    told.wait_for()
    assert "36 rows in all" in told.inner_text()
    is_accessible(page)


def test_keys_that_are_quicker_than_the_server_are_heard_once_each(chromium, data_set, settings, job_store):
    with web_server(settings, job_store) as address:
        context = chromium.new_context(base_url=address)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.route("**/reviews/next*", lambda route: (time.sleep(0.5), route.continue_()))
        page.goto("/data-sets/tiny/review?reviewer=ada")
        page.locator("#skip").wait_for()
        shown = page.locator("#row_id").input_value()
        page.keyboard.press("a")  # before the queue is here
        page.locator("#done").filter(has_text="1").wait_for()
        coming = page.locator("#row_id").input_value()
        left = int(page.locator("#left").inner_text())
        while page.locator("#finished").is_hidden():  # what is pressed while no image is there means none
            page.keyboard.press("r")
        page.wait_for_function("() => document.querySelector('#unsent').textContent === ''")
        context.close()
    said = [(each.subject.row, each.verdict) for each in Review(data_set).file.read()]
    assert said[:2] == [(shown, "accept"), (coming, "reject")]
    assert len({row for row, _ in said}) == len(said) == 1 + left


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible_on_a_phone(chromium, client, data_set, settings, job_store, scheme):
    row = client.get("/v1/data-sets/tiny/rows?verdict=accepted&limit=1").json()["rows"][0]["id"]
    with web_server(settings, job_store) as address:
        context = chromium.new_context(base_url=address, viewport={"width": 390, "height": 844}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        for path in ("/", "/new", "/new?from=tiny", "/try?text=A zebra on a beach", "/compare?a=tiny&b=tiny",
                     "/data-sets/tiny", f"/data-sets/tiny/rows/{row}", "/data-sets/tiny/review?reviewer=ada",
                     "/data-sets/tiny/thresholds?filter=duplicate", "/data-sets/tiny/publish", "/data-sets/none"):
            page.goto(path)
            is_accessible(page)
        context.close()
