"""Every scheduler that a recipe may name, on every kind of pipeline."""

from importlib.util import find_spec

import numpy as np
import pytest
from diffusers import DiffusionPipeline

from terrasynth.synthesis import load_generator
from terrasynth.synthesis.core.errors import InputError
from tests.tiny_pipelines import PIPELINES

NEEDS = {"DPMSolverSDEScheduler": "torchsde"}
UNFIT = {("sdxl", "EDMEulerScheduler")}  # Euler's configuration lacks its range of noise


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipelines")
    return {name: make(root / name) for name, make in PIPELINES.items()}


@pytest.mark.parametrize("kind", sorted(PIPELINES))
def test_every_scheduler_draws(folders, kind):
    pipeline = DiffusionPipeline.from_pretrained(folders[kind])
    names = sorted(each.__name__ for each in pipeline.scheduler.compatibles)
    assert len(names) > 10
    drawn = {}
    for name in names:
        if name in NEEDS and find_spec(NEEDS[name]) is None:
            with pytest.raises(InputError, match=rf"scheduler '{name}' cannot be used .*{NEEDS[name]}"):
                load(folders[kind], name)
            continue
        if (kind, name) in UNFIT:
            with pytest.raises(InputError, match=rf"scheduler '{name}' cannot be used with this model"):
                load(folders[kind], name)
            continue
        generator = load(folders[kind], name)
        assert type(generator.pipeline.scheduler).__name__ == name
        drawn[name] = generator.generate(["a river and a bridge", "sparse forest"], [1, 2])
        assert drawn[name].shape == (2, 16, 16, 3)
        assert np.array_equal(generator.generate(["a river and a bridge", "sparse forest"], [1, 2]), drawn[name]), name
    assert len({pictures.tobytes() for pictures in drawn.values()}) > 5


def load(folder, scheduler, steps=4):
    return load_generator(str(folder), steps=steps, scheduler=scheduler, device="cpu", dtype="float32")


def test_steps_that_a_scheduler_cannot_take_are_named_before_the_first_picture(folders):
    with pytest.raises(InputError, match=r"generator\.steps 2000 cannot be taken with the"):
        load(folders["sd"], "DDIMScheduler", steps=2000)
