from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from terrasynth.eval import InputError, load_classifier, load_encoder
from terrasynth.eval.copies.measures import HashMeasure
from terrasynth.eval.copies.memorisation import memorisation
from terrasynth.eval.copies.perceptual_hash import turned
from terrasynth.eval.evaluation.confusion import Confusion, confusion
from terrasynth.eval.evaluation.evaluate import measure
from terrasynth.eval.evaluation.findings import Finding, findings
from terrasynth.eval.evaluation.guidance_sweep import SweepPoint, in_order
from terrasynth.eval.evaluation.judged import judge
from terrasynth.eval.pages.charts import ScoreHistogram
from terrasynth.eval.pages.evaluation_page import SIDE, sweep_charts, write_evaluation_report
from terrasynth.eval.pages.evaluation_report import (
    EvaluationReport,
    Gallery,
    NearestPair,
    Shown,
    extremes,
)
from terrasynth.eval.pages.page import image_uri
from tests.eval.conftest import LABELS
from tests.eval.pages.test_report import read
from tests.tiny import TEXTS, tiny_pictures

N = 18
TEXT = [TEXTS[i % len(TEXTS)] for i in range(N)]
LABEL = [LABELS[i % 3] for i in range(N)]
PICTURES = tiny_pictures(N)


@pytest.fixture(scope="module")
def models(dual_folder, scene_folder):
    return {"encoder": load_encoder(dual_folder), "classifier": load_classifier(scene_folder)}


@pytest.fixture(scope="module")
def judged(models):
    return judge(PICTURES, TEXT, LABEL, **models)


@pytest.fixture(scope="module")
def real(models):
    return judge(tiny_pictures(24, seed=1), [TEXTS[i % 5] for i in range(24)], [LABELS[i % 2] for i in range(24)],
                 **models)


@pytest.fixture(scope="module")
def report(judged, real):
    evaluation = measure(judged, real, 5)
    train = np.concatenate([turned(PICTURES[3:4], 5), tiny_pictures(9, seed=2)])
    copies = memorisation(PICTURES, train, tiny_pictures(9, seed=3), [HashMeasure()], seed=5, pairs=2)
    shown = [Shown(PICTURES[i], f"id{i}", 2**60 + i, LABEL[i], TEXT[i] + " <b>", float(judged.scores[i]), 0.5, "forest")
             for i in range(N)]
    best, worst = extremes(judged.scores, 4)
    own, theirs = confusion(judged), confusion(real)
    point = SweepPoint.of(3.0, "tiny", "abc", evaluation)
    return EvaluationReport(
        "harbours & <beaches>", "0123456789abcdef", {"generator": "tiny"}, evaluation,
        findings(evaluation, own, theirs, copies), own, theirs,
        (ScoreHistogram.of("alignment", np.array([0.4, 0.5]), np.array([0.1]), {"": 0.3}),),
        (Gallery("Lowest CLIP score", tuple(shown[i] for i in worst)),
         Gallery("Highest CLIP score", tuple(shown[i] for i in best))),
        copies, tuple(NearestPair(p, shown[p.row], train[p.train_row], "beach") for p in copies.pairs),
        (point, replace(point, guidance=5.0)), {"Something": "nobody gave it"},
    )


def test_one_page_holds_everything(report, tmp_path):
    index = write_evaluation_report(tmp_path / "made", report)
    assert sorted(path.name for path in index.parent.iterdir()) == ["index.html", "report.json"]
    page, text = read(index.parent)
    assert {link.split(",")[0] for link in page.links if not link.startswith("#")} == {"data:image/png;base64"}
    assert "script" not in page.tags
    assert "harbours & <beaches>" in text
    for row in ("scene accuracy", "CLIP score", "Frechet distance", "KID", "Vendi score", "coverage"):
        assert row in text
    for words in ("Something: nobody gave it.", "1 equals one in every pixel", "nearer than", "guidance", "id3",
                  str(2**60 + 3), "Most frequent mistakes", "accepted 2", "rejected 1"):
        assert words in text, words
    targets = {link[1:] for link in page.links if link.startswith("#")}
    ids = set(re.findall(r'<h2 id="([\w-]+)"', index.read_text()))
    assert targets == ids


def test_every_picture_has_words_for_those_who_do_not_see_it(report, tmp_path):
    page = write_evaluation_report(tmp_path, report).read_text()
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) == 8 + 2 * len(report.pairs)
    assert all(re.search(r'alt="[^"]+"', each) for each in pictures)
    assert all('aria-label="' in each for each in re.findall(r"<svg [^>]*>", page))


def test_the_json_holds_every_figure_with_its_origin(report, judged, real, tmp_path):
    write_evaluation_report(tmp_path, report)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["figures"] == json.loads(json.dumps(report.evaluation.to_json()))
    assert all(row["n"] and row["network"] and row["seed"] == 5 for row in content["table"])
    assert content["classes"]["generated"]["n"] == N
    assert content["classes"]["real"]["accuracy"]["beach"]["n"] == 12
    worst = content["pictures"]["Lowest CLIP score"][0]
    assert worst["clip_score"] == pytest.approx(float(judged.scores.min()))
    assert (worst["id"], worst["seed"]) == (f"id{judged.scores.argmin()}", 2**60 + int(judged.scores.argmin()))
    assert content["copies"]["exact_copies"] == 1
    assert content["pairs"][0]["picture"]["id"] == "id3"


def test_the_same_report_gives_the_same_bytes(report, tmp_path):
    for name in ("one", "two"):
        write_evaluation_report(tmp_path / name, report)
    for name in ("index.html", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_without_real_pictures_the_page_says_what_is_missing(judged, tmp_path):
    evaluation = measure(judged, None, 0)
    own = confusion(judged)
    page = EvaluationReport("tiny", "", {}, evaluation, findings(evaluation, own), own)
    write_evaluation_report(tmp_path, page)
    text = read(tmp_path)[1]
    assert "Not measured" in text
    assert "no reference images; give real ones" in text
    assert "Real images: asked for" not in text


def test_too_many_classes_are_not_drawn(report, tmp_path):
    names = tuple(f"class {number}" for number in range(60))
    large = Confusion(names[:2], names, ((1, *[0] * 59), (2, 3, *[0] * 58)), {"model": "large"})
    write_evaluation_report(tmp_path, replace(report, confusion=large, real_confusion=None))
    assert "60 classes are too many to draw" in read(tmp_path)[1]


def test_small_pictures_are_shown_pixel_by_pixel_and_large_ones_made_smaller():
    def back(image):
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(image_uri(image, SIDE).split(",")[1]))))

    np.testing.assert_array_equal(back(PICTURES[0]), PICTURES[0])
    assert back(tiny_pictures(1, 2 * SIDE)[0]).shape == (SIDE, SIDE, 3)


def test_extremes_are_the_most_extreme_and_never_the_same_twice():
    assert extremes(np.array([0.3, 0.1, 0.9, 0.5]), 1) == ([2], [1])
    assert extremes(np.array([0.3, 0.1, 0.9]), 6) == ([2], [1])
    assert extremes(np.array([0.3]), 6) == ([], [])


def test_a_page_of_too_few_images_gives_no_verdict(report, tmp_path):
    """All of 18 images: what the intervals say is there to read, and nothing is called worse or fine."""
    kinds = {each.kind for each in report.findings}
    assert "open" in kinds
    assert [each.text for each in report.findings if each.kind == "worse"] == [
        "1 of 18 images equals a training image in every pixel."]  # a count, not an estimate
    write_evaluation_report(tmp_path, replace(report, findings=tuple(
        each for each in report.findings if each.kind == "open")))
    text = read(tmp_path)[1]
    assert "Without a verdict, of too few images or without an interval that carries one" in text
    assert "No verdict: n = 18, and it takes 30." in text
    assert "No figure is shown to be worse than that of real images" in text


def test_no_more_than_five_findings_are_read_first(report, tmp_path):
    many = tuple(Finding("caution", f"Reason {number}.") for number in range(7))
    write_evaluation_report(tmp_path, replace(report, findings=many))
    first = read(tmp_path)[1].partition("What to know first")[2].partition("</section>")[0]
    shown, folded = first.partition("More of the same: 2")[::2]
    assert re.findall(r"Reason \d", shown) == [f"Reason {number}" for number in range(5)]
    assert re.findall(r"Reason \d", folded) == ["Reason 5", "Reason 6"]


def test_a_sweep_is_in_order_and_of_different_guidance(report):
    point = report.sweep[0]
    ordered = in_order([replace(point, guidance=value) for value in (5.0, 1.0, 3.0)])
    assert [each.guidance for each in ordered] == [1.0, 3.0, 5.0]
    assert [each.title for each in sweep_charts(ordered)] == ["CLIP score", "scene accuracy", "Frechet distance"]
    assert [each.title for each in sweep_charts([replace(point, frechet=None)])] == ["CLIP score", "scene accuracy"]
    with pytest.raises(InputError, match="both have guidance 3"):
        in_order([point, point])
