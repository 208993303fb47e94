"""Texts that are read once, and distilled models: on real pipelines of every kind."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from terrasynth.synthesis import load_generator
from terrasynth.synthesis.generators.finding import open_generator
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.generators.text_cache import TextCache, cache_texts
from terrasynth.synthesis.recipe import RuntimeSettings
from tests.tiny_pipelines import PIPELINES

TEXTS = ["a river and a bridge", "sparse forest", "a river and a bridge", "two white tanks"]
SEEDS = [1, 2, 3, 4]


@pytest.fixture(scope="module", params=sorted(PIPELINES))
def folder(request, tmp_path_factory):
    return PIPELINES[request.param](tmp_path_factory.mktemp("pipelines") / request.param)


def load(folder, **settings):
    return load_generator(str(folder), **({"steps": 2, "device": "cpu", "dtype": "float32"} | settings))


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_texts_read_once_give_the_pictures_of_texts_read_together(folder, guidance):
    generator = load(folder, guidance=guidance)
    together = open_generator(
        generator.source, replace(Runtime.resolve(RuntimeSettings(device="cpu", dtype="float32")), arithmetic=1)
    )
    assert isinstance(generator.pipeline.encode_prompt, TextCache)
    assert not isinstance(together.pipeline.encode_prompt, TextCache)
    drawn = generator.generate(TEXTS, SEEDS)
    assert np.abs(drawn.astype(int) - together.generate(TEXTS, SEEDS)).max() <= 1
    # Three distinct texts, and with guidance the null text beside one of them.
    assert generator.pipeline.encode_prompt.encoded == (4 if guidance > 1 else 3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_kept_changes_no_bit(folder, dtype):
    generator = load(folder, dtype=dtype)
    first = generator.generate(TEXTS, SEEDS)
    encoded = generator.pipeline.encode_prompt.encoded
    assert np.array_equal(generator.generate(TEXTS, SEEDS), first)
    assert generator.pipeline.encode_prompt.encoded == encoded
    # A resumed run has read other texts before.
    resumed = load(folder, dtype=dtype)
    resumed.generate(TEXTS[:2], SEEDS[:2])
    assert np.array_equal(resumed.generate(TEXTS, SEEDS), first)


def test_the_least_recently_used_text_makes_room(folder):
    pipeline = load(folder).pipeline
    plain = pipeline.encode_prompt._encode
    size = sum(each.numel() * each.element_size() for each in _read(plain, ["a plane"]) if each is not None)
    small = TextCache(plain, limit_bytes=2 * size)
    for text, encoded in (("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4)):
        assert len(_read(small, [text])[0]) == 1
        assert small.encoded == encoded


def _read(encode, texts):
    return encode(prompt=texts, do_classifier_free_guidance=False, device=torch.device("cpu"), num_images_per_prompt=1)


def test_other_calls_reach_the_pipeline(folder):
    pipeline = load(folder).pipeline
    cache = pipeline.encode_prompt
    cache(prompt="a plane", do_classifier_free_guidance=True, device=torch.device("cpu"), num_images_per_prompt=2)
    cache(prompt=["a plane", "sparse forest"], negative_prompt=["a", "b"], do_classifier_free_guidance=True,
          device=torch.device("cpu"), num_images_per_prompt=1)
    assert cache.encoded == 0


def test_a_negative_text_is_part_of_what_is_kept(folder):
    plain = load(folder).generate(TEXTS, SEEDS)
    generator = load(folder, options={"negative_prompt": "sea water on the beach"})
    first = generator.generate(TEXTS, SEEDS)
    assert not np.array_equal(first, plain)
    assert generator.pipeline.encode_prompt.encoded == 5  # with the empty text that options are tried with
    assert np.array_equal(generator.generate(TEXTS, SEEDS), first)


def test_pipelines_of_other_kinds_are_left_alone(models):
    pipeline = load(models.token_generator).pipeline
    assert not cache_texts(pipeline)


def distilled(folder):
    """A student that is told its guidance scale, with the scheduler that it was distilled for."""
    from diffusers import LCMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    config = dict(pipeline.unet.config) | {"time_cond_proj_dim": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = UNet2DConditionModel.from_config(config)
    student.load_state_dict(pipeline.unet.state_dict(), strict=False)
    pipeline.unet = student
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def test_a_distilled_model_runs_with_its_own_scheduler(tmp_path):
    folder = PIPELINES["sd"](tmp_path / "sd")
    pipeline = distilled(folder)
    shutil.rmtree(folder)
    pipeline.save_pretrained(folder)
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    expected = pipeline(TEXTS, num_inference_steps=4, guidance_scale=1.0, generator=noise, output_type="pil").images
    generator = load(folder, steps=4, guidance=1.0)
    assert type(generator.pipeline.scheduler).__name__ == "LCMScheduler"
    drawn = generator.generate(TEXTS, SEEDS)
    assert np.abs(drawn.astype(int) - np.stack([np.asarray(each) for each in expected])).max() <= 1
    assert generator.pipeline.encode_prompt.encoded == 3
    assert np.array_equal(generator.generate(TEXTS, SEEDS), drawn)


def test_what_is_asked_beside_the_text_is_part_of_what_is_kept(folder):
    """The same text under another `clip_skip` has other rows."""
    from terrasynth.synthesis.generators.text_cache import TextCache

    def encode(prompt, do_classifier_free_guidance, clip_skip=None):
        rows = torch.tensor([[len(text), clip_skip or 0] for text in prompt], dtype=torch.float32)
        return rows, torch.zeros_like(rows) if do_classifier_free_guidance else None

    cache = TextCache(encode)
    for skip in (1, 2, 1):
        rows, _ = cache(["a river"], False, clip_skip=skip)
        assert rows.tolist() == [[7, skip]]
    assert cache.encoded == 2


def test_texts_are_read_once_though_many_ask_at_the_same_time(folder):
    import threading

    from terrasynth.synthesis.generators.text_cache import TextCache

    def encode(prompt, do_classifier_free_guidance):
        rows = torch.tensor([[len(text)] for text in prompt], dtype=torch.float32)
        return rows, torch.zeros_like(rows) if do_classifier_free_guidance else None

    cache, wrong = TextCache(encode, limit_bytes=64), []

    def ask():
        for length in range(200):
            rows, null = cache(["x" * (length % 20)], True)
            if rows.tolist() != [[length % 20]] or null.tolist() != [[0]]:
                wrong.append(length)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
