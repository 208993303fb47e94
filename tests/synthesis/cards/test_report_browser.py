"""The report of a run as people use it, in a real Chromium that opens it as a file."""

import shlex

import pytest

from terrasynth.synthesis.cards.one_file import one_file_report
from tests.browser import is_accessible

PATIENCE_MS = 5 * 60 * 1000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sent(run_once, tmp_path_factory):
    """The report in one file, away from its run."""
    path = tmp_path_factory.mktemp("sent") / "report.html"
    path.write_text(one_file_report(run_once, 1000)[0], "utf-8")
    return path


@pytest.fixture
def opened(chromium, run_once):
    """Opens the report; what its console says is an error of ours."""
    contexts, said = [], []

    def call(path=run_once / "report" / "index.html", width=1300, **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield call
    for each in contexts:
        each.close()
    assert said == []


def figures(page):
    return page.locator("#images figure")


def test_everything_is_shown_filtered_and_sorted(opened):
    page = opened()
    total = page.evaluate("JSON.parse(document.querySelector('#rows').textContent).rows.length")
    assert figures(page).count() == min(48, total)
    first = figures(page).first
    first.locator("img").evaluate("image => image.decode()")
    assert first.locator("img").evaluate("image => image.naturalWidth") > 0
    for words in ("seed ", "beach"):
        assert words in first.inner_text()
    page.select_option("select[name=class]", "river")
    labels = set(page.locator("#images b").all_text_contents())
    assert labels == {"river"}
    page.select_option("select[name=sort]", "-alignment")
    assert "class=river" in page.url
    captions = [text.removeprefix("alignment ") for text in page.locator("#images .score").all_text_contents()]
    page.locator("#images button").first.click()
    scores = []
    for _ in range(figures(page).count()):
        scores.append(page.locator("#large dd").first.inner_text().split(",")[0])
        page.keyboard.press("ArrowRight")
    assert captions == scores
    known = [float(score) for score in scores if score != "not scored"]
    assert known == sorted(known, reverse=True)
    page.keyboard.press("Escape")
    page.reload()  # an address keeps what was asked for
    assert set(page.locator("#images b").all_text_contents()) == {"river"}
    least = sorted(known)[len(known) // 2]
    page.fill("input[name=least]", str(least))
    assert figures(page).count() == sum(score >= least for score in known)
    page.fill("input[name=text]", "no text says this")
    assert figures(page).count() == 0
    assert page.locator("#found").inner_text() == f"None of {total} images is like that."
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("total => document.querySelector('#found').textContent.endsWith(`of ${total} images`)",
                           arg=total)
    verdict = page.locator("select[name=verdict] option").nth(1).inner_text()
    page.select_option("select[name=verdict]", verdict)
    assert all(text.startswith(verdict) for text in page.locator("#images .verdict").all_text_contents())
    page.get_by_role("link", name="forest").click()  # of the table of classes
    page.wait_for_function("() => document.querySelector('select[name=class]').value === 'forest'")
    assert set(page.locator("#images b").all_text_contents()) == {"forest"}


def test_an_image_is_enlarged_by_keys_with_all_that_is_known(opened):
    page = opened()
    rows = page.evaluate("JSON.parse(document.querySelector('#rows').textContent)")
    page.locator("#images button").first.focus()
    page.keyboard.press("ArrowRight")
    chosen = page.evaluate("document.activeElement.closest('figure').dataset.id")
    row = next(row for row in rows["rows"] if row[0] == chosen)
    page.keyboard.press("Enter")
    large = page.locator("dialog[open]")
    assert large.locator("h3").inner_text() == rows["labels"][row[1]]
    assert large.locator(".text").inner_text() == row[4]
    facts = large.locator("dl").inner_text()
    assert row[0] in facts
    assert row[3] in facts
    words = shlex.split(large.locator("pre").inner_text()) if not rows["redraw"]["python"] else []
    if words:
        assert words[-1] == row[4]
        assert f"--seed={row[3]}" in words
    else:
        assert f"seeds=[{row[3]}]" in large.locator("pre").inner_text()
    is_accessible(page)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is none before the first
    assert large.locator("[name=before]").is_disabled()
    page.keyboard.press("Escape")
    large.wait_for(state="hidden")
    page.wait_for_function(  # the dialog tells that it was closed a moment later
        "() => document.activeElement.closest('figure') === document.querySelector('#images figure')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_it_is_for_everybody_on_any_screen(opened, width, scheme):
    page = opened(width=width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    is_accessible(page)
    shown = page.locator("picture img").first.evaluate(
        "async (image) => { await image.decode(); return image.currentSrc.split('/').pop(); }")
    assert shown == ("accepted-dark.png" if scheme == "dark" else "accepted.png")
    page.locator("#images button").nth(1).click()
    is_accessible(page)


def test_without_scripts_the_first_images_and_all_tables_are_there(opened):
    page = opened(java_script_enabled=False)
    assert figures(page).count() > 0
    assert "seed " in figures(page).first.inner_text()
    assert page.locator("#choose").is_hidden()
    assert page.locator("table").count() >= 2


def test_one_file_alone_shows_every_image(opened, sent):
    assert [path.name for path in sent.parent.iterdir()] == ["report.html"]
    page = opened(sent)
    page.select_option("select[name=show]", "960")
    total = page.evaluate("JSON.parse(document.querySelector('#rows').textContent).rows.length")
    assert figures(page).count() == total
    sizes = page.evaluate("""async () => {
        const images = [...document.querySelectorAll("#images img")];
        images.forEach((image) => { image.loading = "eager"; });
        await Promise.all(images.map((image) => image.decode()));
        return images.map((image) => image.naturalWidth);
    }""")
    assert set(sizes) == {32}


def test_a_phone_shows_commands_and_the_table_of_classes_whole(opened):
    page = opened(width=390)
    cut = page.evaluate("""[...document.querySelectorAll("td.setting, tr:has(> .wide) td")].filter(cell =>
        cell.getBoundingClientRect().right > document.documentElement.clientWidth).map(cell => cell.innerText)""")
    assert cut == []
    assert page.evaluate("""[...document.querySelectorAll(".scroll")].filter(
        frame => frame.querySelector("td.setting, td.wide") && frame.scrollWidth > frame.clientWidth).length""") == 0
    assert page.get_by_text("--repo USER/NAME").is_visible()
