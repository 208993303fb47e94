"""A generator says how far it is, in the thread that asked for the images, and draws the same ones."""

import threading

import numpy as np
import pytest
import torch

from terrasynth.synthesis.generators.finding import open_generator
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.generators.steps import Bar, Steps, TellsSteps
from terrasynth.synthesis.recipe import RuntimeSettings
from tests.synthesis.helpers import find
from tests.tiny_pipelines import PIPELINES, sd

TEXTS, SEEDS = ["a river", "a bridge", "a beach"], [4, 5, 6]


def opened(source, **settings):
    return open_generator(source, Runtime.resolve(RuntimeSettings(device="cpu", dtype="float32", **settings)))


def heard_from(generator):
    """What it tells, and in which threads, beside its images."""
    assert isinstance(generator, TellsSteps)
    heard, threads = [], set()

    def hear(steps):
        heard.append(steps)
        threads.add(threading.get_ident())

    silent = generator.generate(TEXTS, SEEDS)
    generator.on_step = hear
    assert np.array_equal(generator.generate(TEXTS, SEEDS), silent)
    assert threads == {threading.get_ident()}
    return heard


@pytest.mark.parametrize("kind", sorted(PIPELINES))
def test_images_drawn_at_once_go_forward_together(tmp_path, kind):
    source = find(str(PIPELINES[kind](tmp_path / kind)), steps=3, guidance=2.0)
    heard = heard_from(opened(source, exact=False, micro_batch=2))
    assert heard == [Steps(0, 1, 3), Steps(0, 2, 3), Steps(0, 3, 3), Steps(2, 0, 3),
                     Steps(2, 1, 3), Steps(2, 2, 3), Steps(2, 3, 3), Steps(3, 0, 3)]


@pytest.mark.parametrize("count", [1, 2])
def test_images_side_by_side_are_told_of_one_by_one(tmp_path, count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        heard = heard_from(opened(find(str(sd(tmp_path / "sd")), steps=2, guidance=2.0), exact=True, micro_batch=count))
    finally:
        torch.set_num_threads(before)
    assert sorted(steps.step for steps in heard) == [0] * 3 + [1] * 3 + [2] * 3
    assert [steps.whole for steps in heard if not steps.step] == [1, 2, 3]
    assert [steps.whole for steps in heard] == sorted(steps.whole for steps in heard)
    assert {steps.steps for steps in heard} == {2}


@pytest.mark.parametrize("exact", [True, False])
def test_tokens_are_steps(models, exact):
    generator = opened(find(str(models.token_generator)), exact=exact)
    side = generator.pipeline.transformer.config.side
    heard = heard_from(generator)
    assert [each.step for each in heard[:side**2]] == list(range(1, side**2 + 1)) or exact
    assert max(each.step for each in heard) == side**2
    assert heard[-1] == Steps(3, 0, side**2)


def test_an_image_that_fails_ends_the_drawing_and_is_told_of_no_more(tmp_path, monkeypatch):
    generator = opened(find(str(sd(tmp_path / "sd")), steps=2, guidance=2.0), exact=True)
    heard = []
    generator.on_step = heard.append
    draw = type(generator)._draw

    def broken(self, pipeline, prompts, *more):
        if prompts == TEXTS[1:2]:
            raise OSError("gone")
        return draw(self, pipeline, prompts, *more)

    with monkeypatch.context() as patch:
        patch.setattr(type(generator), "_draw", broken)
        with pytest.raises(OSError, match="gone"):
            generator.generate(TEXTS, SEEDS)
    heard.clear()
    assert len(generator.generate(TEXTS, SEEDS)) == 3
    assert [steps.whole for steps in heard if not steps.step] == [1, 2, 3]


def test_a_bar_counts_what_it_is_given_either_way():
    told = []
    assert list(Bar(lambda *steps: told.append(steps), ["a", "b"], None)) == ["a", "b"]
    with Bar(lambda *steps: told.append(steps), None, 4) as bar:
        bar.update(3)
        bar.set_description("shows nothing")
    assert told == [(1, 2), (2, 2), (3, 4)]
