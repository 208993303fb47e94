"""Realism in evaluations: figures, tables, findings and the page, with the reason where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from terrasynth.eval import evaluate, load_classifier, load_encoder
from terrasynth.eval.evaluation.confusion import Confusion
from terrasynth.eval.evaluation.figures import NotMeasured
from terrasynth.eval.evaluation.findings import findings
from terrasynth.eval.evaluation.realism import MEASURES, CodedImages, Realism, realism_figures
from terrasynth.eval.evaluation.record import rows_of
from terrasynth.eval.metrics.realism import compare_spectra, tell_apart
from terrasynth.eval.pages.evaluation_page import write_evaluation_report
from terrasynth.eval.pages.evaluation_report import EvaluationReport
from tests.eval.conftest import LABELS
from tests.eval.metrics.test_realism import blurred, natural, with_grid

N = 36  # enough for a verdict
TEXT = ["a beach"] * N
LABEL = [LABELS[i % 3] for i in range(N)]
NETWORK = {"model": "own (vae)", "content": "0" * 16}


@pytest.fixture(scope="module")
def models(dual_folder, scene_folder):
    return {"encoder": load_encoder(dual_folder), "classifier": load_classifier(scene_folder)}


@pytest.fixture(scope="module")
def evaluation(models):
    real = natural(30, 1)
    labels = [LABELS[i % 3] for i in range(30)]
    return evaluate(with_grid(natural(N, 0), 4, 40), TEXT, LABEL, **models, reference_images=real,
                    reference_labels=labels, coded=CodedImages(blurred(real), NETWORK), seed=3)


def test_they_are_what_the_measures_say_of_the_same_images(evaluation):
    images, real = with_grid(natural(N, 0), 4, 40), natural(30, 1)
    assert evaluation.realism.coarse == tell_apart(images, real, seed=3)
    assert evaluation.realism.fine == tell_apart(images, real, fine=True, seed=3)
    assert evaluation.realism.spectrum == compare_spectra(images, real)
    assert evaluation.coded.spectrum == compare_spectra(blurred(real), real)
    assert evaluation.coded.network == NETWORK
    assert not [each for each in evaluation.missing if "told apart" in each.metric]


def test_no_figure_of_a_network_moves_by_them(evaluation, models):
    without = evaluate(with_grid(natural(N, 0), 4, 40), TEXT, LABEL, **models, reference_images=natural(30, 1),
                       reference_labels=[LABELS[i % 3] for i in range(30)], seed=3)
    assert without.coded is None
    assert replace(without, coded=evaluation.coded) == evaluation


def test_the_table_has_a_row_for_each(evaluation):
    rows = {row.name: row for row in rows_of(evaluation)}
    own = rows["told apart, 18 measures"]
    assert own.value == f"{evaluation.realism.coarse.accuracy:.3f}"
    assert own.real.startswith(f"{evaluation.realism.coarse.null:.3f} [")
    assert own.n == "n = 30 against 30 real"
    assert rows["coded: told apart, 72 measures"].network == "own (vae) " + "0" * 16
    peak = evaluation.realism.spectrum.peaks[4]
    assert rows["grid peaks at 4/8 px"].value.startswith(f"{peak:+.2f} / ")
    assert rows["coded: fine spectrum"].value == f"{evaluation.coded.spectrum.fine:+.2f} dB"


def test_a_grid_and_a_decoder_that_gives_itself_away_are_found(evaluation):
    found = {each.text: each.kind for each in findings(evaluation)}
    grid = next(text for text in found if "carry a grid" in text)
    assert "at a period of 4 px" in grid
    assert found[grid] == "worse"
    told = next(text for text in found if text.startswith("By texture alone"))
    assert found[told] == "worse"
    assert "its autoencoder coded and decoded are told apart too" in told


def test_images_like_real_ones_are_no_finding(evaluation):
    same = realism_figures(natural(40, 4), natural(40, 5), seed=0)
    like = findings(replace(evaluation, realism=same.generated, coded=None))
    assert not [each for each in like if "grid" in each.text]
    assert [each.kind for each in like if each.text.startswith("By texture alone")] == ["fine"]


@pytest.mark.parametrize(("images", "real", "reason"), [
    (natural(4, 0), natural(30, 1), "telling them apart needs 10 images and 20 real ones"),
    (natural(12, 0)[:, :24, :24], natural(30, 1)[:, :24, :24], "too small for a spectrum"),
    (natural(12, 0)[:, :40, :40], natural(30, 1), "bring both to one size"),
    (natural(12, 0), None, "no reference images"),
])
def test_what_cannot_be_measured_has_its_reason(images, real, reason):
    found = realism_figures(images, real)
    assert (found.generated, found.coded) == (None, None)
    assert [reason in each.reason for each in found.missing] == [True]
    assert found.missing[0].network == MEASURES


def test_why_nothing_was_coded_is_said():
    found = realism_figures(natural(12, 0), natural(30, 1), NotMeasured("told apart, coded", "no autoencoder", {}))
    assert isinstance(found.generated, Realism)
    assert [each.reason for each in found.missing] == ["no autoencoder"]


def test_the_page_shows_the_spectra(evaluation, tmp_path):
    confusion = Confusion(tuple(LABELS), tuple(LABELS), tuple(tuple(8 for _ in LABELS) for _ in LABELS), NETWORK)
    report = EvaluationReport("own", "", {}, evaluation, findings(evaluation), confusion)
    page = write_evaluation_report(tmp_path, report).read_text()
    assert page.count('<polyline class="curve ') == 3
    assert "told apart by texture" in page
    assert np.isclose(float(page.split("its autoencoder alone ")[1][:5]), evaluation.coded.coarse.accuracy, atol=5e-4)
