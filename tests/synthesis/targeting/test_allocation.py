"""How images are divided among classes: what the rule promises, whatever the errors."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrasynth.synthesis.targeting.allocation import allocate, divided, shrunken_errors, shuffled, uniform
from terrasynth.synthesis.targeting.confusions import Confusions

ERRORS = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(lambda own: {f"c{n}": e for n, e in enumerate(own)})
FLOORS = st.floats(0, 1)


@given(ERRORS, st.integers(0, 5000), FLOORS)
def test_all_are_given_and_none_gets_less_than_the_floor(errors, more, floor):
    images = len(errors) + more
    found = allocate(errors, images, floor)
    assert list(found) == list(errors)
    assert sum(found.values()) == images
    least = max(1, int(Fraction(floor).limit_denominator(10**6) * images / len(errors)))
    assert min(found.values()) >= least


@given(ERRORS, st.integers(0, 5000), FLOORS)
def test_a_class_that_is_missed_more_never_gets_fewer(errors, more, floor):
    found = allocate(errors, len(errors) + more, floor)
    ordered = sorted(errors, key=errors.get)
    assert all(found[one] <= found[other] for one, other in pairwise(ordered)
               if errors[one] < errors[other])
    assert max(found.values()) - min(found.values()) <= 1 or len(set(errors.values())) > 1  # equal errors, equal shares


@given(ERRORS, st.integers(0, 5000), FLOORS)
def test_the_same_errors_give_the_same(errors, more, floor):
    first = allocate(errors, len(errors) + more, floor)
    assert allocate(dict(errors), len(errors) + more, floor) == first
    assert allocate(dict(reversed(errors.items())), len(errors) + more, 1.0).keys() == errors.keys()


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30), st.integers(0, 10**6))
def test_every_part_is_its_quota_rounded_up_or_down(weights, images):
    found = divided({f"c{n}": weight for n, weight in enumerate(weights)}, images)
    total = sum(map(Fraction, weights))
    for weight, count in zip(weights, found.values(), strict=True):
        quota = Fraction(weight) * images / total if total else Fraction(images, len(weights))
        assert abs(count - quota) < 1


def test_by_hand():
    # floor 0.5 of 60 / 3 = 10 each; 30 more as 1 : 2 : 3
    assert allocate({"a": 0.1, "b": 0.2, "c": 0.3}, 60, 0.5) == {"a": 15, "b": 20, "c": 25}
    assert allocate({"a": 0.0, "b": 1.0}, 10, 0.25) == {"a": 1, "b": 9}
    assert allocate({"a": 0.3, "b": 0.9}, 11, 1.0) == {"a": 5, "b": 6}
    assert divided({"a": 5, "b": 3, "c": 1}, 7) == {"a": 4, "b": 2, "c": 1}  # quotas 3.89, 2.33, 0.78


@pytest.mark.parametrize(("errors", "images", "floor"), [({}, 5, 0.2), ({"a": 1, "b": 1}, 1, 0.2), ({"a": 1}, 5, 1.5),
                                                         ({"a": -0.1}, 5, 0.2)])
def test_what_cannot_be_divided_is_refused(errors, images, floor):
    with pytest.raises(ValueError, match="give one image a class"):
        allocate(errors, images, floor)


def test_an_error_of_few_images_is_drawn_towards_that_of_all():
    found = shrunken_errors({"few": 1, "many": 50, "none": 0}, {"few": 2, "many": 98, "none": 0}, prior=5)
    every = 51 / 100
    assert found == {"few": pytest.approx((1 + 5 * every) / 7), "many": pytest.approx((50 + 5 * every) / 103),
                     "none": pytest.approx(every)}


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1))
def test_a_shrunken_error_lies_between_its_own_and_that_of_all(numbers):
    n = {label: wrong + right for label, (wrong, right) in numbers.items()}
    if not sum(n.values()):
        return
    missed = {label: wrong for label, (wrong, _) in numbers.items()}
    every = sum(missed.values()) / sum(n.values())
    for label, found in shrunken_errors(missed, n).items():
        own = missed[label] / n[label] if n[label] else every
        assert min(own, every) - 1e-9 <= found <= max(own, every) + 1e-9


def test_the_controls_have_as_many():
    own = allocate({"a": 0.1, "b": 0.7, "c": 0.2, "d": 0.4}, 101, 0.1)
    assert sum(uniform(list(own), 101).values()) == 101
    assert set(uniform(list(own), 101).values()) == {25, 26}
    drawn = [shuffled(own, seed) for seed in range(20)]
    assert all(sorted(each.values()) == sorted(own.values()) and list(each) == list(own) for each in drawn)
    assert len({tuple(each.values()) for each in drawn}) > 5
    assert shuffled(own, 3) == drawn[3]


def test_confusions_by_hand():
    found = Confusions.of([("a", "b"), ("a", "b"), ("a", "c"), ("a", "a"), ("b", "b")])
    assert (found.total, found.n("a"), found.missed("a"), found.n("c"), found.recall("c")) == (5, 4, 3, 0, None)
    assert found.rivals("a") == [("b", 2), ("c", 1)]
    assert found.recall("b").value == 1
    assert found.recall("b").low < 1


def test_classes_are_found_by_their_synonyms():
    given = Confusions.of([("tennis court", "TennisCourt"), ("Beach", "sand"), ("island", "beach")])
    found, left = given.named(["beach", "tenniscourt"])
    assert found.counts == {"tenniscourt": {"tenniscourt": 1}, "beach": {"sand": 1}}
    assert left == ("island",)
