from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from terrasynth.synthesis import load_generator
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.generators.finding import open_generator
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.recipe import RuntimeSettings

TEXTS = ["a river and a bridge", "sparse forest", "sea water on the beach", "two white tanks", "a plane"]
SEEDS = [1, 2, 3, 4, 2**63 - 1]


@pytest.fixture
def generator(models):
    return load_generator(str(models.generator), steps=2, device="cpu", dtype="float32")


def runtime(**changes):
    return replace(Runtime.resolve(RuntimeSettings(device="cpu", dtype="float32")), **changes)


def test_pictures_are_those_of_the_pipeline_itself(models, generator):
    pipeline = StableDiffusionPipeline.from_pretrained(models.generator, safety_checker=None)
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    drawn = pipeline(TEXTS, num_inference_steps=2, guidance_scale=3.0, generator=noise, output_type="pil").images
    expected = np.stack([np.asarray(picture) for picture in drawn])
    pictures = generator.generate(TEXTS, SEEDS)
    assert pictures.shape == (5, 32, 32, 3)
    assert pictures.dtype == np.uint8
    # Texts are read one by one here, and together by the pipeline.
    assert np.abs(pictures.astype(int) - expected).max() <= 1
    first_way = open_generator(generator.source, runtime(arithmetic=1))
    assert np.array_equal(first_way.generate(TEXTS, SEEDS), expected)


def test_picture_depends_on_its_own_prompt_and_seed(generator):
    pictures = generator.generate([TEXTS[0]] * 3 + [TEXTS[1]], [7, 8, 7, 7])
    assert np.array_equal(pictures[0], pictures[2])
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[3])


@pytest.mark.parametrize("micro_batch", [1, 2, 5])
def test_micro_batch_changes_rounding_at_most(generator, micro_batch):
    whole = generator.generate(TEXTS, SEEDS).astype(int)
    generator.micro_batch = micro_batch
    assert np.abs(generator.generate(TEXTS, SEEDS) - whole).max() <= 1


def test_bfloat16_on_the_cpu_draws_the_same_scene_less_precisely(models, generator):
    rough = load_generator(str(models.generator), steps=2, device="cpu", dtype="bfloat16").generate(TEXTS, SEEDS)
    exact = generator.generate(TEXTS, SEEDS)
    assert not np.array_equal(rough, exact)
    assert np.abs(rough.astype(int) - exact).mean() < 8


class OutOfMemoryAbove:
    """A real pipeline on a device that holds `limit` pictures."""

    def __init__(self, pipeline, limit, error):
        self.pipeline, self.limit, self.error, self.batches = pipeline, limit, error, []

    def __call__(self, prompt, **options):
        self.batches.append(len(prompt))
        if len(prompt) > self.limit:
            raise self.error
        return self.pipeline(prompt=prompt, **options)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_micro_batch_for_good(models, error):
    generator = load_generator(str(models.generator), steps=2, device="cpu", dtype="float32", exact=False)
    whole = generator.generate(TEXTS, SEEDS).astype(int)
    generator.pipeline = OutOfMemoryAbove(generator.pipeline, 2, error)
    generator.micro_batch = 5
    assert np.abs(generator.generate(TEXTS, SEEDS) - whole).max() <= 1
    assert generator.pipeline.batches == [5, 2, 2, 1]
    assert generator.micro_batch == 2


def test_too_little_memory_for_one_picture_is_an_error(generator):
    generator.pipeline = OutOfMemoryAbove(generator.pipeline, 0, torch.OutOfMemoryError("out of memory"))
    with pytest.raises(RunError, match="not even one image"):
        generator.generate(TEXTS, SEEDS)


def test_other_errors_pass_through(generator):
    generator.pipeline = OutOfMemoryAbove(generator.pipeline, 0, RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        generator.generate(TEXTS, SEEDS)


def test_numbers_that_are_not_finite_are_an_error(generator):
    with torch.no_grad():
        generator.pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(RunError, match=r"not finite; set runtime\.dtype to float32"):
        generator.generate(TEXTS, SEEDS)


def test_sizes_and_scheduler_reach_the_pipeline(models):
    generator = load_generator(
        str(models.generator), steps=2, scheduler="DDIMScheduler", height=16, width=48, device="cpu", dtype="float32"
    )
    assert generator.size == (16, 48)
    assert generator.generate(TEXTS[:1], [0]).shape == (1, 16, 48, 3)
    assert type(generator.pipeline.scheduler).__name__ == "DDIMScheduler"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "DDIMSheduler"}, "did you mean 'DDIMScheduler'?"),
        ({"device": "cuda:77"}, "device 'cuda:77' cannot be used"),
        ({"device": "toaster"}, "device 'toaster' cannot be used"),
        ({"dtype": "half"}, "use auto, float32, bfloat16, float16"),
    ],
)
def test_wrong_options_are_named(models, options, message):
    with pytest.raises(InputError) as caught:
        load_generator(str(models.generator), **options)
    assert message in str(caught.value)


def test_folder_without_a_pipeline_is_named(models):
    with pytest.raises(InputError, match=r"no model_index\.json, so it is no text-to-image pipeline"):
        load_generator(str(models.encoder))


def test_broken_weights_are_named(models, tmp_path):
    import shutil

    broken = shutil.copytree(models.generator, tmp_path / "broken")
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="model 'broken' cannot be loaded"):
        load_generator(str(broken))


def test_content_decides_the_revision(models, tmp_path):
    import shutil

    from tests.synthesis.helpers import find

    copied = shutil.copytree(models.generator, tmp_path / "copied")
    assert find(str(copied)).revision == find(str(models.generator)).revision
    scheduler = copied / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.02", "0.03"))
    assert find(str(copied)).revision != find(str(models.generator)).revision


def test_prompts_and_seeds_have_to_match(generator):
    with pytest.raises(InputError, match="2 prompts with 1 seeds"):
        generator.generate(["a", "b"], [1])
    assert generator.generate([], []).shape == (0, 32, 32, 3)


def test_explicit_runtime_wins_over_the_recorded_one():
    recorded = Runtime("cpu", "bfloat16", 3, 1, "2", {"float32": 1.0})
    assert Runtime.resolve(RuntimeSettings(device="cpu"), recorded).micro_batch == 3
    explicit = Runtime.resolve(RuntimeSettings(micro_batch=5, dtype="float32"), recorded)
    assert (explicit.micro_batch, explicit.dtype, explicit.threads) == (5, "float32", 1)
