from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from terrasynth.eval import (
    CachedClassifier,
    CachedEncoder,
    InputError,
    ThumbnailEncoder,
    evaluate,
    load_classifier,
    load_encoder,
)
from terrasynth.eval.models.feature_cache import cache_folder, default_folder, picture_keys
from tests.eval.conftest import LABELS
from tests.tiny import tiny_pictures

ROOT = Path(__file__).parents[3]
TEXTS = ["a plane", "many houses", "a plane", "", "sea water on the beach"]


def _files(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_a_picture_is_embedded_once_and_then_found(encoder_folder, tmp_path):
    encoder, pictures = load_encoder(encoder_folder), tiny_pictures(7, 40)
    first, second = CachedEncoder(encoder, tmp_path), CachedEncoder(encoder, tmp_path)
    embeddings = first.encode_images(pictures)
    np.testing.assert_array_equal(embeddings, encoder.encode_images(pictures))
    np.testing.assert_array_equal(second.encode_images(pictures), embeddings)
    np.testing.assert_array_equal(second.features(pictures), encoder.features(pictures))
    assert (first.computed, first.reused) == (7, 0)
    assert (second.computed, second.reused) == (0, 14)
    assert (second.dim, second.identity(), second.calibration) == (encoder.dim, encoder.identity(), None)


def test_only_what_is_new_is_computed_and_the_order_is_kept(clip_folder, tmp_path):
    encoder, pictures = load_encoder(clip_folder), tiny_pictures(9, 40)
    cache = CachedEncoder(encoder, tmp_path)
    cache.features(pictures[2:5])
    shuffled = pictures[[8, 3, 0, 3, 4, 8]]
    np.testing.assert_allclose(cache.features(shuffled), encoder.features(shuffled), atol=1e-5)
    assert cache.computed == 3 + 2  # of 8 3 0 3 4 8, once each, without 3 and 4
    assert cache.features(pictures[:0]).shape == (0, encoder.dim)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_rows_are_written_a_file_at_a_time(clip_folder, tmp_path, monkeypatch, batch_size):
    monkeypatch.setattr("terrasynth.eval.models.feature_cache.ROWS_PER_FILE", 4)
    cache, pictures = CachedEncoder(load_encoder(clip_folder), tmp_path), tiny_pictures(10)
    first = cache.features(pictures, batch_size)
    assert len(_files(tmp_path)) == {1: 3, 3: 4, 64: 1}[batch_size]
    np.testing.assert_array_equal(CachedEncoder(load_encoder(clip_folder), tmp_path).features(pictures), first)


def test_texts_and_scores_are_found_too(clip_folder, tmp_path):
    encoder, pictures = load_encoder(clip_folder), tiny_pictures(5)
    cosine = CachedEncoder(encoder, tmp_path).score(pictures, TEXTS)
    np.testing.assert_array_equal(cosine, encoder.score(pictures, TEXTS))
    again = CachedEncoder(encoder, tmp_path)
    again._encoder = None  # nothing is left to be asked
    np.testing.assert_array_equal(again.encode_texts(TEXTS), encoder.encode_texts(TEXTS))
    np.testing.assert_array_equal(again.encode_images(pictures), encoder.encode_images(pictures))
    assert again.encode_texts([]).shape == (0, encoder.dim)


def test_pictures_of_other_shape_or_pixels_are_others():
    flat = np.zeros((1, 4, 8, 3), np.uint8)
    other = flat.copy()
    other[0, 3, 7, 2] = 1
    keys = {*picture_keys(flat), *picture_keys(flat.reshape(1, 8, 4, 3)), *picture_keys(other)}
    assert len(keys) == 3
    assert picture_keys(np.concatenate([flat, other])[::-1]) == picture_keys(other) + picture_keys(flat)


def test_another_network_or_precision_has_rows_of_its_own(clip_folder, dual_folder, tmp_path, monkeypatch):
    pictures = tiny_pictures(3)
    for number, encoder in enumerate([load_encoder(clip_folder), load_encoder(dual_folder),
                                      load_encoder(clip_folder, dtype="bfloat16")], 1):
        cache = CachedEncoder(encoder, tmp_path)
        np.testing.assert_array_equal(cache.encode_images(pictures), encoder.encode_images(pictures))
        assert cache.computed == 3
        assert len(_files(tmp_path)) == number
    monkeypatch.setattr("terrasynth.eval.models.feature_cache.PREPROCESSING", 99)
    changed = CachedEncoder(load_encoder(clip_folder), tmp_path)
    changed.features(pictures)
    assert changed.computed == 3
    described = [json.loads(path.read_text()) for path in tmp_path.rglob("network.json")]
    assert {(each["of"], each["network"]["kind"], each["precision"], each["preprocessing"]) for each in described} == {
        (of, kind, precision, preprocessing) for of in ("pictures", "texts")
        for kind, precision, preprocessing in [
            ("clip", "float32 on cpu", 2), ("vision-text-dual-encoder", "float32 on cpu", 2),
            ("clip", "bfloat16 on cpu", 2), ("clip", "float32 on cpu", 99),
        ]
    }


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty])
def test_a_damaged_file_is_named_and_made_anew(clip_folder, tmp_path, damage):
    encoder, pictures = load_encoder(clip_folder), tiny_pictures(4)
    expected = CachedEncoder(encoder, tmp_path).features(pictures)
    CachedEncoder(encoder, tmp_path).features(tiny_pictures(2, 40))
    file = min(_files(tmp_path), key=lambda path: path.stat().st_mtime)
    damage(file)
    cache = CachedEncoder(encoder, tmp_path)
    with pytest.warns(UserWarning, match=f"{file.name} is damaged .*made anew"):
        np.testing.assert_array_equal(cache.features(pictures), expected)
    assert cache.computed == 4
    assert CachedEncoder(encoder, tmp_path).features(pictures).tolist() == expected.tolist()
    assert len(_files(tmp_path)) == 2


def test_a_file_that_another_process_removed_is_made_anew(clip_folder, tmp_path):
    cache, pictures = CachedEncoder(load_encoder(clip_folder), tmp_path), tiny_pictures(3)
    expected = cache.features(pictures)
    for path in _files(tmp_path):
        path.unlink()
    np.testing.assert_array_equal(cache.features(pictures), expected)
    assert (cache.computed, len(_files(tmp_path))) == (6, 1)


WORKER = """
import sys
from pathlib import Path
import numpy as np
from terrasynth.eval.models.feature_store import FeatureStore
store, start = FeatureStore(Path(sys.argv[1]), {"network": "numbers"}), int(sys.argv[2])
for number in [*range(start, start + 60), *range(90)]:
    keys = [bytes([number, row] * 8) for row in range(4)]
    found = store.get(keys)
    if not found:
        store.put(keys, np.full((4, 3), number, np.float32) + np.arange(4, dtype=np.float32)[:, None])
    found = store.get(keys)
    assert [found[key].tolist() for key in keys] == [[number + row] * 3 for row in range(4)]
"""


def test_processes_share_a_folder(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", WORKER, tmp_path, start], cwd=ROOT,
                         stderr=subprocess.PIPE, text=True)
        for start in ("0", "15", "30")
    ]
    problems = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], problems
    assert len(_files(tmp_path)) == 90
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []


def test_a_classifier_is_remembered_with_its_probabilities(scene_folder, tmp_path):
    classifier, pictures = load_classifier(scene_folder), tiny_pictures(5, 40)
    for computed, reused in ((5, 0), (0, 5)):
        cache = CachedClassifier(classifier, tmp_path)
        found, expected = cache.classify(pictures), classifier.classify(pictures)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        np.testing.assert_array_equal(found.features, expected.features)
        assert (cache.computed, cache.reused) == (computed, reused)
    np.testing.assert_array_equal(cache.features(pictures), classifier.features(pictures))
    assert (cache.labels, cache.identity()) == (LABELS, classifier.identity())
    with pytest.raises(ValueError, match="none given"):
        cache.classify(pictures[:0])


def test_an_evaluation_with_a_cache_gives_the_same_figures(clip_folder, scene_folder, tmp_path):
    encoder, classifier = load_encoder(clip_folder), load_classifier(scene_folder)
    pictures, real, labels = tiny_pictures(8, 40), tiny_pictures(8, 40, seed=1), [LABELS[row % 3] for row in range(8)]
    texts = [f"a plane {row}" for row in range(8)]

    def figures(encoder, classifier):
        return evaluate(pictures, texts, labels, encoder=encoder, classifier=classifier, reference_images=real,
                        reference_texts=texts, reference_labels=labels).to_json()

    plain = figures(encoder, classifier)
    for _ in range(2):
        cached = CachedEncoder(encoder, tmp_path), CachedClassifier(classifier, tmp_path)
        assert figures(*cached) == plain
    assert (cached[0].computed, cached[1].computed) == (0, 0)


def test_no_folder_means_no_cache_and_thumbnails_have_none(clip_folder, tmp_path):
    encoder, pictures = load_encoder(clip_folder), tiny_pictures(3)
    cache = CachedEncoder(encoder, None)
    for _ in range(2):
        np.testing.assert_array_equal(cache.score(pictures, TEXTS[:3]), encoder.score(pictures, TEXTS[:3]))
    assert cache.computed == 6
    thumbnails = CachedEncoder(ThumbnailEncoder(), tmp_path)
    np.testing.assert_array_equal(thumbnails.encode_images(pictures), ThumbnailEncoder().encode_images(pictures))
    with pytest.raises(InputError, match="'thumbnail' reads no text"):
        thumbnails.score(pictures, TEXTS[:3])
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_named_as_without_a_cache(clip_folder, tmp_path):
    cache = CachedEncoder(load_encoder(clip_folder), tmp_path)
    with pytest.raises(TypeError, match="one string"):
        cache.encode_texts("a plane")
    with pytest.raises(ValueError, match="2 images and 1 texts"):
        cache.score(tiny_pictures(2), ["a plane"])
    with pytest.raises(TypeError, match="uint8"):
        cache.features(np.zeros((1, 8, 8, 3), np.float32))


def test_the_folder_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder(None) == default_folder() == tmp_path / "terrasynth" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "terrasynth" / "features"
    assert cache_folder("none") is None
    assert cache_folder("~/mine") == tmp_path / "mine"


def test_a_folder_that_cannot_be_written_is_named(clip_folder, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"feature cache '.*file' cannot be written: .*; name another folder, or none"):
        CachedEncoder(load_encoder(clip_folder), tmp_path / "file")
