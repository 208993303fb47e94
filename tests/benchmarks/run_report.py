"""What does a report with all images of a run cost, and how soon is it open?

    python tests/benchmarks/run_report.py --rows 10000 --out FOLDER

Draws two images of each class with the embedded generator of the recipe `demo`, which says what drawing takes. Then
makes a run of so many rows out of them: blocks are written by the project's own writers under the run's own ids and
prompts, their images being those that were drawn, shifted, with what was measured of them. Writes its report three
times: anew, with every sheet there already, and after a growth of 64 attempts a class. Prints a line of JSON: seconds
of processor time for an image drawn and for the reports, sizes in bytes; and, where playwright and a Chromium are, the
milliseconds until the page is loaded and its first images are decoded (five times each, from a file).

Exit code 1 when the page has more than 5 MiB, takes more than a second to open (median), or the report takes more than
5 % of what drawing takes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES, MOST_SECONDS, MOST_SHARE, TIMES = 5 * 2**20, 1.0, 0.05, 5
GROWTH, PER_BLOCK = 64, 2


def demo(per_class: int, steps: int):
    from terrasynth import Recipe

    return Recipe.load("demo", [
        f"target.per_class={per_class}", f"target.max_attempts={per_class}", f"generator.steps={steps}",
        "filters=[{kind: alignment, encoder: clip-ucm, min_score: 0.3}]", "runtime.block_size=16"])


def draw(out: Path, steps: int) -> float:
    """Draw a small run; returns the seconds of processor time for an image, from prompt to stored block."""
    from terrasynth import run
    from terrasynth.synthesis.events import BlockDone

    recipe = demo(PER_BLOCK, steps)
    recipe = recipe.model_copy(update={"runtime": recipe.runtime.model_copy(update={"block_size": PER_BLOCK})})
    marks: list[float] = []
    run(recipe, out, lambda event: marks.append(time.process_time()) if isinstance(event, BlockDone) else None)
    # the first block loads the models
    return (marks[-1] - marks[0]) / (len(marks) - 1) / PER_BLOCK


def fill(job, source: Path, upto: int) -> None:
    """Write the blocks of a run up to so many attempts of each class."""
    from terrasynth import RunDirectory
    from terrasynth.synthesis.core.images import decode, encode
    from terrasynth.synthesis.filters import Measurements
    from terrasynth.synthesis.ledger.block_files import metadata_of
    from terrasynth.synthesis.ledger.blocks import Attempt

    drawn = RunDirectory(source).blocks
    size = job.blocks.block_size
    for label in job.classes:
        rows = drawn.read(label, 0, ["image", "scores", "embedding"]).to_pylist()
        images = [decode(row["image"]["bytes"]) for row in rows]
        encoder = metadata_of(drawn.path(label, 0), "")[b"encoder"].decode()
        for index in range(upto // size):
            if job.blocks.exists(label, index):
                continue
            made = []
            for row, prompt in enumerate(job.prompts(label, index * size, size)):
                k = index * size + row
                name, seed = job.identity.attempt(label, k)
                image = np.roll(images[k % len(images)], (k % 128, k // 128), (0, 1))
                made.append(Attempt(name, k, label, encode(image, "png"), prompt.text, prompt.captions, seed,
                                    prompt.source, prompt.scene))
            scored = [rows[each.k % len(rows)] for each in made]
            job.blocks.write(label, index, made, encoder, Measurements(
                "embedding", np.array([each["embedding"] for each in scored], np.float32),
                np.array([each["scores"]["alignment"] for each in scored], np.float32)))


def written(recipe, out: Path) -> dict[str, float]:
    """Decide on what is there and write the results; returns what the report alone took."""
    import terrasynth.synthesis.pipeline as pipeline

    took, write = {}, pipeline.write_run_report

    def timed(*given: object) -> None:
        clock, start = time.perf_counter(), time.process_time()
        write(*given)
        took.update(processor=time.process_time() - start, clock=time.perf_counter() - clock)

    pipeline.write_run_report = timed
    try:
        result = pipeline.run(recipe, out)
    finally:
        pipeline.write_run_report = write
    assert result.drawn == 0, "the blocks were there"
    return took


def opened(page: Path) -> dict[str, list[float]] | None:
    """Milliseconds until the page was loaded, and until its first images were there; None without a browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if found is None:
        return None
    loaded, shown = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for _ in range(TIMES):
            context = browser.new_context(viewport={"width": 1300, "height": 900})
            tab = context.new_page()
            tab.goto(page.resolve().as_uri())
            loaded.append(tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
            shown.append(tab.evaluate("""async () => {
                const start = performance.now();
                document.querySelector("#images").scrollIntoView();
                const first = [...document.querySelectorAll("#images img")].slice(0, 12);
                await Promise.all(first.map((image) => image.decode()));
                return performance.now() - start;
            }"""))
            context.close()
        browser.close()
    return {"loaded": loaded, "first images": shown}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    from terrasynth.synthesis.execution.job import Job

    drawing = draw(given.out / "drawn", given.steps)
    per_class = -(-given.rows // 21 // 16) * 16
    found: dict[str, object] = {"drawing, s an image": drawing}
    took = {}
    for name, attempts in (("anew", per_class), ("again", per_class), ("grown", per_class + GROWTH)):
        recipe = demo(attempts, given.steps)
        (given.out / "made" / "finished.json").unlink(missing_ok=True)  # else there is nothing to do
        job = Job(recipe, given.out / "made")
        with job.opened():
            fill(job, given.out / "drawn", attempts)
        took[name] = written(recipe, given.out / "made")
        total = attempts * len(job.classes)
    folder = given.out / "made" / "report"
    sheets = [path.stat().st_size for path in folder.glob("images-*.jpg")]
    html = (folder / "index.html").stat().st_size
    share = took["anew"]["processor"] / (per_class * len(job.classes)) / drawing
    found |= {"report, s": took, "images": total, "share of drawing": share, "html bytes": html,
              "sheets": len(sheets), "sheet bytes": sum(sheets),
              "browser, ms": (times := opened(folder / "index.html"))}
    print(json.dumps(found))
    slow = times is not None and statistics.median(times["loaded"]) > 1000 * MOST_SECONDS
    return int(html > MOST_BYTES or slow or share > MOST_SHARE)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
