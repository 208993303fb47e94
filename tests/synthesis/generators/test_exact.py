"""Exact drawing: neither how many images are drawn at once nor the number of threads moves a pixel."""

import threading
from collections import Counter

import numpy as np
import pytest
import torch

from terrasynth.synthesis import load_generator, run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.generators.finding import open_generator
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.recipe import Recipe, RuntimeSettings
from tests.synthesis.helpers import find, fingerprint, rows
from tests.tiny_pipelines import PIPELINES

TEXTS = [f"a river and {number} bridges" for number in range(6)]
SEEDS = list(range(6))


@pytest.fixture
def threads():
    """Compute with another number of threads for a while."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def resolved(**settings):
    return Runtime.resolve(RuntimeSettings(device="cpu", dtype="float32", **settings))


def floats(generator, prompts, seeds):
    """What the pipeline gives before it is rounded to 256 levels, where a difference shows first."""
    seen = []
    draw = type(generator)._draw

    def watched(self, pipeline, *arguments):
        real = type(pipeline).__call__
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(pipeline), "__call__", lambda *a, **k: seen.append(real(*a, **k)) or seen[-1])
            return draw(self, pipeline, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(generator), "_draw", watched)
        generator.generate(prompts, seeds)
    return np.concatenate([np.asarray(each.images) for each in seen])


@pytest.mark.parametrize("kind", sorted(PIPELINES))
def test_portions_and_threads_move_no_pixel_of_any_pipeline(tmp_path, threads, kind):
    source = find(str(PIPELINES[kind](tmp_path / kind)), steps=2, guidance=2.0)
    found = []
    for count, micro_batch in ((1, 1), (2, 1), (2, 2), (3, 4), (1, "auto"), (2, "auto")):
        threads(count)
        found.append(open_generator(source, resolved(exact=True, micro_batch=micro_batch)).generate(TEXTS, SEEDS))
        assert torch.get_num_threads() == count
    assert all(np.array_equal(found[0], other) for other in found[1:])
    alone = open_generator(source, resolved(exact=True)).generate(TEXTS[2:3], SEEDS[2:3])
    assert np.array_equal(alone[0], found[0][2])


def test_a_generator_of_tokens_can_be_exact_too(models, threads):
    source = find(str(models.token_generator))
    found = []
    for count, micro_batch in ((1, 1), (2, 3)):
        threads(count)
        runtime = Runtime.resolve(RuntimeSettings(device="cpu", dtype="float32", exact=True, micro_batch=micro_batch),
                                  None, draws_tokens=True)
        found.append(open_generator(source, runtime).generate(TEXTS, SEEDS))
    assert np.array_equal(*found)


@pytest.mark.parametrize(("exact", "tokens", "expected"), [
    ("auto", False, True), ("auto", True, False), (True, True, True), (False, False, False),
])
def test_who_draws_exactly(exact, tokens, expected):
    runtime = Runtime.resolve(RuntimeSettings(device="cpu", dtype="float32", exact=exact), None, tokens)
    assert runtime.exact is expected
    assert runtime.threads == (1 if expected else torch.get_num_threads())


def test_a_run_that_goes_on_keeps_its_way_of_drawing(models):
    for exact in (True, False):
        recorded = resolved(exact=exact)
        assert resolved().exact is True
        assert Runtime.resolve(RuntimeSettings(device="cpu"), recorded).exact is exact


def test_images_at_once_are_as_many_as_threads_and_never_more_than_memory_is_sure_of(threads):
    for count, side, expected in ((2, 16, 2), (64, 16, 16), (64, 64, 8), (64, None, 8)):
        threads(count)
        settings = RuntimeSettings(device="cpu", dtype="float32")
        assert Runtime.resolve(settings, None, False, side).micro_batch == expected


def test_micro_batch_and_threads_change_no_byte_of_a_run(tree, tmp_path, threads):
    found = []
    ways = (("a", 1, {}), ("b", 1, {"micro_batch": 3}), ("c", 2, {}), ("d", 2, {"micro_batch": 1}))
    for name, count, changes in ways:
        threads(count)
        run(Recipe.parse(tree | {"runtime": tree["runtime"] | changes}), tmp_path / name)
        found.append({part: fingerprint(tmp_path / name / part) for part in ("blocks", "scores", "data")})
    assert all(other == found[0] for other in found[1:])


def test_side_by_side_is_at_the_same_time_and_on_one_thread_each(models):
    generator = load_generator(str(models.generator), steps=1, device="cpu", dtype="float32", micro_batch=3)
    real, met = type(generator.pipeline).__call__, threading.Barrier(3, timeout=60)
    seen, threads = set(), set()

    def together(pipeline, *arguments, **options):
        met.wait()
        for part in (pipeline, pipeline.scheduler, pipeline.tokenizer):  # they keep what the call at hand asks for
            seen.add((type(part).__name__, id(part)))
        threads.add(torch.get_num_threads())
        return real(pipeline, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(generator.pipeline), "__call__", together)
        generator.generate(TEXTS, SEEDS)
    assert Counter(name for name, _ in seen) == {type(part).__name__: 3 for part in (
        generator.pipeline, generator.pipeline.scheduler, generator.pipeline.tokenizer)}
    assert threads == {1}


def test_out_of_memory_draws_fewer_at_once(models):
    generator = load_generator(str(models.generator), steps=1, device="cpu", dtype="float32", micro_batch=4)
    whole = generator.generate(TEXTS, SEEDS)
    real, calls, lock = type(generator.pipeline).__call__, [], threading.Lock()

    def scarce(pipeline, *arguments, **options):
        with lock:
            calls.append(1)
            if len(calls) in (1, 5):
                raise MemoryError
        return real(pipeline, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(generator.pipeline), "__call__", scarce)
        again = generator.generate(TEXTS, SEEDS)
    assert np.array_equal(again, whole)
    assert (generator.micro_batch, generator.vae_slicing) == (2, True)


def test_when_blocks_are_stored_decides_nothing_of_how_they_are_drawn(models, monkeypatch):
    """Before numbers are rounded to 256 levels, where processors differ in which they meet."""
    source = find(str(models.generator), steps=2, guidance=3.0)
    runtime = resolved(exact=False, micro_batch=6)
    before = floats(open_generator(source, runtime), TEXTS, SEEDS)
    monkeypatch.setattr(Runtime, "accelerated", True)
    after = floats(open_generator(source, runtime), TEXTS, SEEDS)
    assert before.dtype == np.float32
    assert np.array_equal(before, after)


def test_blocks_behind_the_drawing_are_measured_on_the_threads_of_the_run(tree, tmp_path, monkeypatch, threads):
    """A thread counts its threads by itself: what it was not told it takes from the machine."""
    import terrasynth.synthesis.ledger.measuring

    threads(3)
    tree["runtime"]["exact"] = False
    monkeypatch.setattr(Runtime, "accelerated", True)
    seen, real = set(), terrasynth.synthesis.ledger.measuring.Encoders.measure

    def measure(self, *arguments):
        seen.add((threading.current_thread() is threading.main_thread(), torch.get_num_threads()))
        return real(self, *arguments)

    monkeypatch.setattr(terrasynth.synthesis.ledger.measuring.Encoders, "measure", measure)
    run(Recipe.parse(tree), tmp_path / "run")
    assert seen == {(False, 3)}


def test_a_size_that_the_pipeline_refuses_is_refused_before_the_run_begins(tree, tmp_path, monkeypatch):
    from diffusers import StableDiffusionPipeline

    def refuse(self, *arguments, **options):
        raise ValueError("`height` cannot be greater than 32")

    monkeypatch.setattr(StableDiffusionPipeline, "check_inputs", refuse)
    tree["generator"] |= {"height": 64, "width": 64}
    with pytest.raises(InputError, match=r"does not draw images of 64 x 64 px: `height` cannot be greater"):
        run(Recipe.parse(tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("sides", "shape"), [
    ({"height": 16, "width": 48}, (16, 48, 3)), ({"height": 48}, (48, 32, 3)), ({"width": 16}, (32, 16, 3)),
])
def test_a_size_that_the_model_has_is_drawn(tree, tmp_path, sides, shape):
    """One side alone, too, which pipelines of diffusers ignore."""
    tree["generator"] |= sides
    tree["filters"], tree["target"] = [], {"per_class": 1, "max_attempts": 1}
    run(Recipe.parse(tree), tmp_path / "run")
    assert {decode(row["image"]["bytes"]).shape for row in rows(tmp_path / "run")} == {shape}
