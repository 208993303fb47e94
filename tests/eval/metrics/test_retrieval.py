"""R@k: by sorting as a person would, with equal texts, with ties, and beside chance."""

from __future__ import annotations

import numpy as np
import pytest

from terrasynth.eval.metrics import retrieval
from terrasynth.eval.metrics.retrieval import measure_retrieval

DRAW = np.random.default_rng(0)


def unit(n, dim, generator=DRAW):
    values = generator.normal(size=(n, dim))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


TEXTS = [f"text {number}" for number in range(30)]
CAPTIONS = [[TEXTS[number % 12], TEXTS[12 + number % 18]] for number in range(40)]
PICTURES, SENTENCES = unit(40, 5), unit(30, 5)


def by_sorting(k):
    cosine = PICTURES @ SENTENCES.T
    forth = [any(TEXTS[j] in own for j in np.argsort(-row)[:k]) for row, own in zip(cosine, CAPTIONS, strict=True)]
    back = [any(text in CAPTIONS[i] for i in np.argsort(-cosine[:, TEXTS.index(text)])[:k])
            for own in CAPTIONS for text in own]
    return np.mean(forth), np.mean(back)


def test_it_is_what_sorting_gives():
    found = measure_retrieval(PICTURES, CAPTIONS, TEXTS, SENTENCES, 0)
    for forth, back in zip(found.image_to_text, found.text_to_image, strict=True):
        assert (forth.recall.value, back.recall.value) == pytest.approx(by_sorting(forth.k))
        assert (forth.recall.n, back.recall.n) == (40, 80)
    assert [each.k for each in found.image_to_text] == [1, 5, 10]


def test_chance_is_what_random_embeddings_reach():
    generator, found = np.random.default_rng(1), []
    for _ in range(20):
        seen = measure_retrieval(unit(40, 20, generator), CAPTIONS, TEXTS, unit(30, 20, generator), 0, ranks=(1, 5))
        found.append([[each.recall.value, each.chance] for each in (*seen.image_to_text, *seen.text_to_image)])
    (reached, chance), error = np.mean(found, axis=0).T, np.std(found, axis=0)[:, 0] / np.sqrt(len(found))
    assert (abs(reached - chance) < 4 * error).all()
    assert (error < 0.2 * chance).all()
    assert chance[0] == pytest.approx(2 / 30)


def test_a_text_of_two_pictures_is_right_for_both():
    pictures, sentences = np.eye(4)[[0, 0, 1, 2]], np.eye(4)[[0, 1, 2]]
    captions = [["a road"], ["a road"], ["a pond"], ["a field"]]
    found = measure_retrieval(pictures, captions, ["a road", "a pond", "a field"], sentences, 0, ranks=(1,))
    assert found.image_to_text[0].recall.value == 1
    assert found.text_to_image[0].recall.value == 1
    assert (found.n_images, found.n_texts) == (4, 3)


def test_ties_count_against():
    """Were equal scores taken in order of the candidates, a model that sees nothing would score by luck or fully."""
    nothing = np.ones((6, 1))
    captions = [[f"{number}"] for number in range(6)]
    texts = [own[0] for own in captions]
    found = measure_retrieval(nothing, captions, texts, nothing, 0, ranks=(1, 5))
    assert [each.recall.value for each in (*found.image_to_text, *found.text_to_image)] == [0, 0, 0, 0]


def test_blocks_and_order_change_nothing(monkeypatch):
    whole = measure_retrieval(PICTURES, CAPTIONS, TEXTS, SENTENCES, 0)
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    order, shuffled = DRAW.permutation(40), DRAW.permutation(30)
    other = measure_retrieval(
        PICTURES[order].astype(np.float32), [CAPTIONS[i] for i in order], [TEXTS[i] for i in shuffled],
        SENTENCES[shuffled].astype(np.float32), 0,
    )
    for a, b in zip((*whole.image_to_text, *whole.text_to_image), (*other.image_to_text, *other.text_to_image),
                    strict=True):
        assert (a.recall.value, a.chance) == pytest.approx((b.recall.value, b.chance))


def test_ranks_that_any_order_reaches_are_left_out():
    found = measure_retrieval(PICTURES[:4], CAPTIONS[:4], TEXTS, SENTENCES, 0)
    assert [each.k for each in found.text_to_image] == [1]
    assert [each.k for each in found.image_to_text] == [1, 5, 10]


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="40 images and captions for 39"):
        measure_retrieval(PICTURES, CAPTIONS[1:], TEXTS, SENTENCES, 0)
    with pytest.raises(ValueError, match="30 texts, 30 of them distinct, 29 embeddings"):
        measure_retrieval(PICTURES, CAPTIONS, TEXTS, SENTENCES[1:], 0)
    with pytest.raises(ValueError, match="'text 0' is not among the texts"):
        measure_retrieval(PICTURES, CAPTIONS, TEXTS[1:], SENTENCES[1:], 0)


@pytest.mark.parametrize("texts", [12, 42])
def test_the_intervals_hold_the_mean_where_pictures_share_texts(texts):
    """Pictures of one text find it together, and are found by it together: whole texts are drawn anew."""
    found = [_shared(seed, texts) for seed in range(120)]
    for way in ("text_to_image", "image_to_text"):
        recalls = [getattr(each, way)[0].recall for each in found]
        mean = np.mean([each.value for each in recalls])
        assert np.mean([each.low <= mean <= each.high for each in recalls]) > 0.9


def _shared(seed, texts, pictures=5, width=12):
    generator = np.random.default_rng(seed)
    said = generator.normal(size=(texts, width))
    said /= np.linalg.norm(said, axis=1, keepdims=True)
    seen = np.repeat(said, pictures, 0) + 0.55 * generator.normal(size=(texts * pictures, width))
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    names = [f"text {number}" for number in range(texts)]
    return measure_retrieval(seen, [[name] for name in names for _ in range(pictures)], names, said, 0, ranks=(1,))
