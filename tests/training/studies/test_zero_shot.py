import numpy as np
import pytest
import torch

from terrasynth.training.errors import InputError
from terrasynth.training.studies.zero_shot import zero_shot_accuracy

COLOURS = {"desert": (210, 180, 110), "forest": (30, 90, 40), "river": (40, 80, 170), "snow": (235, 235, 240),
           "volcano": (120, 30, 30)}
SIZE = 32


def _pictures(per_class, classes, seed, size=SIZE, spread=0):
    generator = np.random.default_rng(seed)
    labels = [name for name in classes for _ in range(per_class)]
    ground = np.array([COLOURS[name] for name in labels])[:, None, None]
    ground = ground + generator.normal(0, spread, (len(labels), 1, 1, 3))
    noise = generator.normal(0, 12, (len(labels), size, size, 3))
    return np.clip(ground + noise, 0, 255).astype(np.uint8), labels


def _accuracy(images, labels, reference, **changes):
    return zero_shot_accuracy(images, labels, *reference, **{"size": SIZE, "steps": 12, **changes})


def test_classes_that_colour_tells_apart_are_recognised():
    images, labels = _pictures(20, ["desert", "river"], 0)
    found = _accuracy(images, labels, _pictures(10, ["desert", "river"], 1))
    assert found.accuracy.value > 0.9
    assert found.accuracy.low <= found.accuracy.value <= found.accuracy.high
    assert {name: n for name, (_, n) in found.per_class.items()} == {"desert": 10, "river": 10}
    assert (found.n_train, found.n_val, found.n_test, found.chance) == (36, 4, 20, 0.5)
    assert found.line().startswith(f"zero-shot accuracy {found.accuracy}; chance 0.500; trained on 36 images")


def test_the_labels_are_what_is_learned():
    images, labels = _pictures(10, COLOURS, 0)
    reference = _pictures(4, COLOURS, 1)
    shuffled = np.random.default_rng(0).permutation(labels).tolist()
    true, null = (_accuracy(images, own, reference) for own in (labels, shuffled))
    assert true.accuracy.value > 0.9
    assert null.accuracy.value <= 0.4  # chance is 0.2


def test_a_seed_decides_the_result():
    images, labels = _pictures(8, COLOURS, 0, spread=60)
    reference = _pictures(8, COLOURS, 1, spread=60)  # the colours overlap: some are found, some are missed
    torch.manual_seed(1)
    one = _accuracy(images, labels, reference)
    torch.manual_seed(2)
    assert _accuracy(images, labels, reference) == one
    other = _accuracy(images, labels, reference, seed=1)
    assert other.per_class != one.per_class


def test_pictures_of_other_sizes_are_brought_to_one():
    images, labels = _pictures(10, ["desert", "river"], 0, size=48)
    reference, names = _pictures(5, ["desert", "river"], 1, size=40)
    found = _accuracy(images, labels, (np.concatenate([reference, reference], axis=2), names))
    assert found.accuracy.value > 0.9


def test_a_real_class_that_was_never_drawn_counts_as_missed():
    images, labels = _pictures(10, ["desert", "river"], 0)
    found = _accuracy(images, labels, _pictures(5, ["desert", "forest", "river"], 1))
    assert found.per_class["forest"] == (0.0, 5)
    assert found.accuracy.n == 15


def test_what_cannot_be_measured_is_refused():
    images, labels = _pictures(2, ["desert", "river"], 0)
    reference = _pictures(2, ["desert", "forest"], 1)
    with pytest.raises(InputError, match="class 'river' has no real image to be tested on; there are: desert, for"):
        _accuracy(images, labels, reference)
    with pytest.raises(InputError, match="4 images and 3 labels"):
        _accuracy(images, labels[:3], reference)
    with pytest.raises(InputError, match="2 images and 4 real images"):
        _accuracy(images[:2], labels[:2], reference)
    with pytest.raises(TypeError, match="uint8"):
        _accuracy(images.astype(np.float32), labels, reference)
