"""A run says which file of training features its near copies were looked for in, and keeps no decision of another."""

import hashlib
import os

import numpy as np
import pytest

from terrasynth.eval import ThumbnailEncoder
from terrasynth.eval.metrics.quality_calibration import QualityCalibration
from terrasynth.synthesis import run
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.core.layout import FINISHED
from terrasynth.synthesis.filters.training_features import TrainingFeatures
from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.helpers import decisions, fingerprint, rows
from tests.tiny import tiny_pictures

N = 6


@pytest.fixture(scope="module")
def drawn(models, tmp_path_factory):
    """A run without filters: the pictures that any other run of the recipe draws, too."""
    out = tmp_path_factory.mktemp("drawn") / "run"
    run(Recipe.parse(plain(models)), out)
    return out


def plain(models, per_class=N, filters=()):
    return {
        "name": "tiny", "generator": {"model": str(models.generator), "steps": 1},
        "prompts": {"expander": "grammar", "classes": ["beach"]}, "filters": list(filters),
        "target": {"per_class": per_class, "max_attempts": 4 * N},
        "runtime": {"block_size": N // 2, "device": "cpu", "dtype": "float32"},
    }


@pytest.fixture
def features(drawn, tmp_path):
    """Two files of features of one size: of pictures that no run draws, and of the run's own first ones."""
    own = np.stack([decode(row["image"]["bytes"]) for row in rows(drawn)[:N]])
    others = tiny_pictures(N, size=own.shape[1], seed=7)
    made = {}
    for name, pictures in (("strange", others), ("own", own)):
        known = TrainingFeatures.of(ThumbnailEncoder(), pictures, True, {"data": "tiny", "split": "train"})
        known.save(tmp_path / f"{name}.safetensors")
        made[name] = (tmp_path / f"{name}.safetensors").read_bytes()
    assert len(made["strange"]) == len(made["own"])
    return made


@pytest.fixture
def reference(features, tmp_path):
    path = tmp_path / "train.safetensors"
    path.write_bytes(features["strange"])
    return path


@pytest.fixture
def made(models, drawn, reference, tmp_path):
    """Run the recipe, or carry on with it; nothing is drawn twice."""

    def call(name="run", per_class=N, should_stop=None):
        filters = [{"kind": "near_copy", "reference": str(reference), "max_similarity": 0.9}]
        run(Recipe.parse(plain(models, per_class, filters)), tmp_path / name, should_stop=should_stop)
        return tmp_path / name

    return call


def exchange(reference, content):
    """Another file in the same place, of the same size and the same time, as `rsync -t` or `cp -p` may leave it."""
    before = reference.stat()
    reference.write_bytes(content)
    os.utime(reference, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = reference.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_finished_run_is_judged_again_by_another_file_in_the_same_place(made, reference, features):
    assert reasons(decisions(made())) == [None] * N
    exchange(reference, features["own"])
    found = decisions(made())
    assert reasons(found) == ["near_copy"] * N
    assert found == decisions(made("fresh"))
    assert fingerprint(made() / "data") == fingerprint(made("fresh") / "data")


def reasons(found):
    return [row["reason"] for row in found[:N]]


def test_a_stopped_run_goes_on_with_one_file_for_all_its_attempts(made, reference, features):
    asked = []
    out = made(should_stop=lambda: len(asked) == 1 or bool(asked.append(0)))
    assert [row["accepted"] for row in decisions(out)] == [True] * (N // 2)
    exchange(reference, features["own"])
    found = decisions(made())
    assert reasons(found) == ["near_copy"] * N
    assert found == decisions(made("fresh"))


def test_a_grown_run_keeps_no_decision_of_the_old_file(made, reference, features):
    assert decisions(made(per_class=2))[0]["accepted"]
    exchange(reference, features["own"])
    found = decisions(made())
    assert reasons(found) == ["near_copy"] * N
    assert found == decisions(made("fresh"))


def test_the_same_content_is_the_same_file_however_it_came_there(made, reference, features):
    noted = made() / FINISHED
    before = noted.stat().st_mtime_ns
    reference.unlink()
    reference.write_bytes(features["strange"])
    made()
    assert noted.stat().st_mtime_ns == before
    exchange(reference, features["own"])
    made()
    assert noted.stat().st_mtime_ns > before


def test_a_calibration_of_quality_in_the_same_place_is_another_one_too(models, drawn, tmp_path):
    own = np.stack([decode(row["image"]["bytes"]) for row in rows(drawn)])
    path, size = tmp_path / "quality.json", own.shape[1]
    filters = [{"kind": "quality", "measure": "sharpness", "pass_real": 0.9, "calibration": str(path)}]

    def judged(name):
        run(Recipe.parse(plain(models, filters=filters)), tmp_path / name)
        return decisions(tmp_path / name)

    QualityCalibration.of({size: np.zeros_like(own)}, "tiny", "val").save(path)
    even = path.read_text()
    assert reasons(judged("run")) == [None] * N
    chequered = np.broadcast_to(255 * (np.indices((size, size)).sum(0) % 2)[None, :, :, None], own.shape)
    QualityCalibration.of({size: chequered.astype(np.uint8)}, "tiny", "val").save(path)
    sharp = path.read_text()
    length = max(len(even), len(sharp))
    path.write_text(even.ljust(length))
    judged("run")
    exchange(path, sharp.ljust(length).encode())
    found = judged("run")
    assert reasons(found) == ["quality"] * N
    assert found == judged("fresh")
    content = hashlib.sha256(sharp.encode()).hexdigest()[:16]
    assert f"| filter `quality`, its file | content {content}, data tiny, split val |" in (
        tmp_path / "run" / "README.md").read_text()


def test_card_and_report_say_which_file_it_was(made, reference, features):
    for name in ("strange", "own"):
        exchange(reference, features[name])
        out = made()
        told = (
            f"content {hashlib.sha256(features[name]).hexdigest()[:16]}, encoder thumbnail, data tiny, pictures {N}, "
            "orientations 8, split train"
        )
        assert f"| filter `near_copy`, its file | {told} |" in (out / "README.md").read_text()
        assert told in (out / "report" / "index.html").read_text()
        assert told in (out / "report" / "report.json").read_text()
