"""Measurements say what they hold, and a filter that reads another kind is told so at once."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import Field

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.filters import (
    AlignmentFilter,
    DuplicateFilter,
    FilterSettings,
    Measurements,
    QualityFilter,
    SceneFilter,
    Source,
)
from terrasynth.synthesis.ledger.blocks import Attempt, Blocks
from terrasynth.synthesis.recipe import Recipe

KINDS = ("embeddings", "probabilities", "quality", "detail", "mine")
READERS = [
    (DuplicateFilter(max_similarity=0.9), "embeddings"),
    (SceneFilter(min_probability=0.5), "probabilities"),
    (SceneFilter(top=1), "probabilities"),
    (QualityFilter(measure="colour", min_score=1), "quality"),
]


class Classifier:
    labels = ("beach", "forest", "river", "lake", "port", "quay", "pier", "farm")


def measured(kind, aligned=False):
    numbers = np.random.default_rng(0).uniform(size=(4, 8)).astype(np.float32)
    return Measurements(kind, numbers, numbers[:, 0] if aligned else None)


@pytest.mark.parametrize(("settings", "reads"), READERS)
def test_a_filter_reads_one_kind_and_no_other(settings, reads, tmp_path):
    for kind in KINDS:
        judge = settings.judge("beach", Classifier(), tmp_path)
        if kind == reads:
            judge.begin(measured(kind))
            continue
        with pytest.raises(RunError, match=f"reads {reads!r} and its model measured {kind!r}"):
            judge.begin(measured(kind))


@pytest.mark.parametrize("settings", [AlignmentFilter(min_score=0.1), AlignmentFilter(quantile=0.5, calibrate_on=4)])
def test_alignment_is_read_where_a_model_reads_text_alone(settings, tmp_path):
    for name in ("learn", "begin"):
        judge = settings.judge("beach", None, tmp_path)
        getattr(judge, name)(measured("embeddings", aligned=True))
        with pytest.raises(RunError, match="measured 'embeddings' without reading a text"):
            judge.begin(measured("embeddings"))


def test_parts_of_blocks_stay_what_they_are():
    whole = measured("embeddings", aligned=True)
    parts = [whole.rows(0, 1), whole.where(np.array([False, True, True, False])), whole.rows(3, 9)]
    joined = Measurements.joined(parts)
    assert (joined.kind, len(joined)) == ("embeddings", 4)
    assert np.array_equal(joined.numbers, whole.numbers)
    assert np.array_equal(joined.cosines(), whole.cosines())
    assert Measurements.joined([measured("mine")]).alignment is None
    with pytest.raises(RunError, match="reads 'embeddings' and its model measured 'mine'"):
        Measurements.joined([whole, measured("mine")])


@pytest.mark.parametrize(("kind", "numbers", "alignment", "said"), [
    (np.zeros(4), np.zeros((4, 2)), None, "a kind and numbers"),  # the order of arguments of an earlier version
    ("mine", np.zeros(4), None, r"not str and \(4,\)"), ("mine", np.zeros((4, 2)), np.zeros(3), "4 images have no"),
])
def test_what_is_no_measurement_is_refused(kind, numbers, alignment, said):
    with pytest.raises(ValueError, match=said):
        Measurements(kind, numbers, alignment)


@pytest.mark.parametrize("where", ["in the block", "beside it"])
@pytest.mark.parametrize("aligned", [True, False])
def test_files_give_back_what_was_measured(tmp_path, where, aligned):
    """The file holds no kind, as those of earlier versions: whoever reads it knows what the encoder gives."""
    identity, measurements = Identity.of(0, {}, {}), measured("embeddings", aligned)
    blocks = Blocks(tmp_path, 4, "png", identity)
    named = [identity.attempt("beach", k) for k in range(4)]
    attempts = [Attempt(name, k, "beach", b"", "A beach.", ("A beach.",), seed, "file", "{}")
                for k, (name, seed) in enumerate(named)]
    inside = where == "in the block"
    blocks.write("beach", 0, attempts, "key" if inside else None, measurements if inside else None)
    if not inside:
        blocks.write_measurements("beach", 0, "key", measurements, [each.id for each in attempts])
    read = blocks.measurements("beach", 0, "key", "embeddings", aligned)
    assert np.array_equal(read.of("embeddings"), measurements.numbers)
    assert (read.alignment is None) == (not aligned)
    if aligned:
        assert np.array_equal(read.cosines(), measurements.cosines())
    assert blocks.measurements("beach", 0, "another", "embeddings") is None


class Measurer:
    model = None

    def __init__(self, gives, aligned):
        self._gives, self._aligned = gives, aligned

    def identity(self):
        return {"measures": self._gives}

    def measure(self, images, texts):
        numbers = np.zeros((len(images), 1), np.float32)
        return Measurements(self._gives, numbers, numbers[:, 0] if self._aligned else None)


class Lying(FilterSettings):
    kind: Literal["lying"] = "lying"
    gives: str
    aligned: bool = Field(default=False)

    @property
    def source(self):
        return Source("honest")

    def own_measurer(self, device):
        return Measurer(self.gives, self.aligned)

    def judge(self, label, model, scratch: Path):
        return AlignmentFilter(min_score=0.0).judge(label, model, scratch)


@pytest.mark.parametrize(("lie", "said"), [
    (Lying(gives="another"), "reads 'honest' and its model measured 'another'"),
    (Lying(gives="honest", aligned=True), "says that it reads no text and gives the opposite"),
    (Lying(gives="honest"), "measured 'honest' without reading a text"),
])
def test_a_plug_in_that_measures_something_else_ends_the_run_at_its_first_block(tree, tmp_path, lie, said):
    recipe = Recipe.parse(tree | {"filters": []}).model_copy(update={"filters": [lie]})
    with pytest.raises(RunError, match=said):
        run(recipe, tmp_path / "run")
    assert len(list((tmp_path / "run" / "blocks").glob("*/*"))) <= 1
