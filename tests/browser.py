"""A real Chromium, and what makes a page usable for everybody."""

import shutil

import pytest

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def chromium():
    """A browser without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is on PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


def is_accessible(page):
    """Nothing serious stands in the way of people who do not see or use no pointer, and nothing runs off the side."""
    from axe_playwright_python.sync_playwright import Axe

    found = [(each["id"], each["nodes"][0]["html"]) for each in Axe().run(page).response["violations"]
             if each["impact"] in SERIOUS]
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
