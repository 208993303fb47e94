"""BLEU, ROUGE-L and CIDEr-D against closed forms and the code of the COCO caption evaluation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from terrasynth.eval.metrics.captions import Frequencies, cider, score_captions
from terrasynth.eval.models.caption_words import caption_words

WORDS = ("a", "the", "boat", "boats", "harbor", "in", "two", "road", "tree", "by")
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


def coco(said, references):
    """BLEU-1 to 4, ROUGE-L of each and CIDEr of each, by `pycocoevalcap` on the same words."""
    own = {row: [" ".join(caption_words(text))] for row, text in enumerate(said)}
    theirs = {row: [" ".join(caption_words(text)) for text in texts] for row, texts in enumerate(references)}
    return (Bleu(4).compute_score(theirs, own, verbose=0)[0], Rouge().compute_score(theirs, own)[1],
            Cider().compute_score(theirs, own)[1])


@given(st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=5)), min_size=2, max_size=6))
def test_the_coco_tools_give_the_same(rows):
    said, references = [text for text, _ in rows], [texts for _, texts in rows]
    scores, (bleu, rouge, cider_d) = score_captions(said, references), coco(said, references)
    assert scores.bleu == pytest.approx(bleu, abs=1e-7)
    assert scores.rouge_l == pytest.approx(rouge, abs=1e-12)
    assert scores.cider == pytest.approx(cider_d, abs=1e-9)


def test_a_caption_that_somebody_wrote_has_the_highest_scores():
    texts = ["two white boats lie in a harbor", "a road leads through dense green forest", "a bare field"]
    scores = score_captions([texts[0].upper(), f"{texts[1]} .", texts[2]], [[text] for text in texts])
    assert scores.bleu == (1.0, 1.0, 1.0, 1.0)
    assert scores.rouge_l.tolist() == [1.0, 1.0, 1.0]
    assert scores.cider == pytest.approx([10.0, 10.0, 7.5])  # the last has no run of four words


def test_bleu_counts_a_word_as_often_as_one_text_has_it_and_punishes_what_is_short():
    scores = score_captions(["the the the the the the the"], [["the cat is on the mat"]])  # Papineni et al., example 2
    assert scores.bleu[0] == pytest.approx(2 / 7)
    short = score_captions(["a boat"], [["a boat in the harbor"]])
    assert short.bleu[:2] == pytest.approx((math.exp(1 - 5 / 2), math.exp(1 - 5 / 2)))


def test_rouge_by_hand():
    found = score_captions(["a boat by the road"], [["a boat in the harbor", "the road"]]).rouge_l[0]
    precision, recall, weight = 3 / 5, 1.0, 1.2**2  # "a boat the" of the first, "the road" of the second
    assert found == pytest.approx((1 + weight) * precision * recall / (recall + weight * precision))


def test_a_text_that_is_there_twice_counts_twice_for_cider_alone():
    said = ["a boat in a harbor", "a road"]
    once = score_captions(said, [["a boat in a harbor", "two boats"], ["a road by a tree"]])
    twice = score_captions(said, [["a boat in a harbor", "two boats", "two boats"], ["a road by a tree"]])
    assert once.bleu == twice.bleu
    assert once.rouge_l.tolist() == twice.rouge_l.tolist()
    assert twice.cider[0] == pytest.approx(once.cider[0] * 2 / 3)


def test_cider_with_the_frequencies_of_another_corpus():
    """What everybody says weighs nothing."""
    corpus = Frequencies([[("a", "boat")], [("a", "road")], [("a", "tree")]])
    same = cider([("a",), ("road",)], [[("a",)], [("road",)]], corpus)
    assert same.tolist() == [0.0, pytest.approx(2.5)]  # runs of one word are a quarter of it


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ValueError, match="2 captions for 1 images; give one for each"):
        score_captions(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="an image without a reference cannot be scored"):
        score_captions(["a"], [[]])
    with pytest.raises(ValueError, match="no caption is given"):
        score_captions([], [])


def test_an_empty_caption_scores_nothing():
    scores = score_captions(["...", "a road by a tree"], [["a boat"], ["a road by a tree"]])
    assert (scores.rouge_l[0], scores.cider[0]) == (0.0, 0.0)
    assert np.isfinite(scores.cider).all()
