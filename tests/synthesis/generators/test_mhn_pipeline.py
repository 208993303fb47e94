"""The pipeline end to end: the same seed is the same picture, however it is asked for, and after saving."""

import numpy as np
import pytest
import torch
from PIL import Image

from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
from tests.tiny import TEXTS
from tests.tiny_mhn import CODES, PATCH, tiny_mhn, tiny_vq

PROMPTS = [TEXTS[i % 5] for i in range(16)]
SEEDS = [7 * i for i in range(15)] + [2**63 - 1]


@pytest.fixture(scope="module")
def pipeline():
    return tiny_mhn()


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mhn")
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _draw(pipeline, prompt, seeds, output_type="np", **options):
    noise = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipeline(prompt, generator=noise, output_type=output_type, **options).images


@pytest.mark.parametrize("options", [{}, {"guidance_scale": 1.0}, {"top_k": 8, "top_p": 0.9, "temperature": 0.8}])
def test_the_same_seed_is_the_same_picture_at_batch_1_and_16(pipeline, options):
    tokens = _draw(pipeline, PROMPTS, SEEDS, "latent", **options)
    pictures = _draw(pipeline, PROMPTS, SEEDS, **options)
    assert pictures.shape == (16, 32, 32, 3)
    assert len({tuple(each.flatten().tolist()) for each in tokens}) == 16
    for i in range(0, 16, 3):
        assert torch.equal(_draw(pipeline, PROMPTS[i], SEEDS[i:i + 1], "latent", **options)[0], tokens[i])
        np.testing.assert_allclose(_draw(pipeline, PROMPTS[i], SEEDS[i:i + 1], **options)[0], pictures[i], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"positions": "rotary", "retrieval_steps": 2, "blocks": 3}])
def test_pictures_are_the_same_without_a_cache(options):
    pipeline = tiny_mhn(**options)
    cached = _draw(pipeline, PROMPTS[:4], SEEDS[:4])
    np.testing.assert_array_equal(_draw(pipeline, PROMPTS[:4], SEEDS[:4], use_cache=False), cached)


def test_pictures_of_one_prompt_are_those_of_the_prompt_repeated(pipeline):
    whole = _draw(pipeline, TEXTS[:2], SEEDS[:6], num_images_per_prompt=3)
    repeated = _draw(pipeline, [TEXTS[0]] * 3 + [TEXTS[1]] * 3, SEEDS[:6])
    np.testing.assert_array_equal(whole, repeated)
    np.testing.assert_allclose(whole[:3], _draw(pipeline, TEXTS[0], SEEDS[:3], num_images_per_prompt=3), atol=1e-5)


def test_a_picture_depends_on_its_prompt_and_its_seed(pipeline):
    a, b, c = _draw(pipeline, [TEXTS[0], TEXTS[0], TEXTS[1]], [0, 1, 0])
    assert np.abs(a - b).max() > 0.1
    assert np.abs(a - c).max() > 0.1


@pytest.mark.parametrize(("guidance", "extra"), [(3.0, 1), (1.0, 0)])
def test_each_distinct_prompt_is_read_once(monkeypatch, guidance, extra):
    pipeline, read = tiny_mhn(), []
    real = pipeline.transformer.prefill
    monkeypatch.setattr(pipeline.transformer, "prefill", lambda text: read.append(len(text)) or real(text))
    _draw(pipeline, TEXTS[0], SEEDS[:5], num_images_per_prompt=5, guidance_scale=guidance)
    _draw(pipeline, [TEXTS[0], TEXTS[1], TEXTS[0]], SEEDS[:6], num_images_per_prompt=2, guidance_scale=guidance)
    assert read == [1 + extra, 2 + extra]  # and the empty prompt once where there is guidance


def test_guidance_changes_the_picture(pipeline):
    plain, guided = (_draw(pipeline, PROMPTS, SEEDS, "latent", guidance_scale=s) for s in (1.0, 8.0))
    assert not torch.equal(plain, guided)
    assert torch.equal(_draw(pipeline, PROMPTS, SEEDS, "latent", guidance_scale=0.0), plain)


def test_one_generator_serves_all_pictures_in_turn(pipeline):
    one = pipeline(TEXTS[:3], generator=torch.Generator().manual_seed(0), output_type="latent").images
    again = pipeline(TEXTS[:3], generator=torch.Generator().manual_seed(0), output_type="latent").images
    other = pipeline(TEXTS[:3], generator=torch.Generator().manual_seed(1), output_type="latent").images
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_without_a_generator_noise_is_fresh(pipeline):
    before = torch.random.get_rng_state()
    try:
        a, b = (pipeline(TEXTS[0], output_type="latent").images for _ in range(2))
    finally:
        torch.random.set_rng_state(before)
    assert not torch.equal(a, b)


def test_a_saved_pipeline_draws_the_same_pictures(pipeline, folder):
    again = Txt2ImgMHNPipeline.from_pretrained(folder)
    np.testing.assert_array_equal(_draw(again, PROMPTS, SEEDS), _draw(pipeline, PROMPTS, SEEDS))
    weights = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in
                     {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl"})
    assert weights == ["transformer/diffusion_pytorch_model.safetensors", "vqvae/diffusion_pytorch_model.safetensors"]


def test_sampling_settings_are_saved_and_are_the_defaults(pipeline, tmp_path):
    Txt2ImgMHNPipeline(pipeline.vqvae, pipeline.transformer, pipeline.tokenizer, 0.5, 7, 0.9).save_pretrained(tmp_path)
    again = Txt2ImgMHNPipeline.from_pretrained(tmp_path)
    assert again.check_sampling() == (0.5, 7, 0.9)
    assert again.check_sampling(1.0, 0, 1.0) == (1.0, 0, 1.0)
    expected = _draw(pipeline, PROMPTS, SEEDS, "latent", temperature=0.5, top_k=7, top_p=0.9)
    assert torch.equal(_draw(again, PROMPTS, SEEDS, "latent"), expected)
    assert not torch.equal(_draw(pipeline, PROMPTS, SEEDS, "latent"), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loads_and_draws(pipeline, folder, dtype):
    half = Txt2ImgMHNPipeline.from_pretrained(folder, torch_dtype=dtype)
    assert half.transformer.dtype == half.vqvae.dtype == dtype
    pictures = _draw(half, PROMPTS[:4], SEEDS[:4])
    assert pictures.shape == (4, 32, 32, 3)
    assert pictures.dtype == np.float32
    assert np.isfinite(pictures).all()
    tokens = _draw(pipeline, PROMPTS[:4], SEEDS[:4], "latent")
    with torch.no_grad():
        rough, exact = (each.decode_tokens(tokens).float() for each in (half, pipeline))
    assert (rough - exact).abs().mean() < 0.05 * exact.std()


def test_output_types_are_one_picture_in_other_forms(pipeline):
    tokens, pictures = _draw(pipeline, TEXTS[:2], [0, 1], "latent"), _draw(pipeline, TEXTS[:2], [0, 1])
    assert tokens.shape == (2, 4, 4)
    assert tokens.dtype == torch.int64
    assert 0 <= tokens.min() < tokens.max() < CODES
    assert pictures.dtype == np.float32
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    drawn = _draw(pipeline, TEXTS[:2], [0, 1], "pt")
    assert drawn.shape == (2, 3, 32, 32)
    np.testing.assert_array_equal(drawn.permute(0, 2, 3, 1).numpy(), pictures)
    images = _draw(pipeline, TEXTS[:2], [0, 1], "pil")
    assert all(isinstance(image, Image.Image) for image in images)
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in images]), np.round(pictures * 255))
    assert pipeline.size == images[0].size == (32, 32)
    assert pipeline.vae_scale_factor == PATCH
    noise = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    (as_tuple,) = pipeline(TEXTS[:2], generator=noise, output_type="latent", return_dict=False)
    assert torch.equal(as_tuple, tokens)


@pytest.mark.parametrize("lookup", [False, True])
def test_pictures_are_those_of_the_tokenizers_own_decoder(pipeline, lookup):
    """Whether its `decode` looks codes up by itself, as those of `training.families.vq` do, or is given them."""
    vqvae = tiny_vq(lookup=lookup)
    ours = Txt2ImgMHNPipeline(vqvae, pipeline.transformer, pipeline.tokenizer)
    tokens = torch.randint(CODES, (2, 4, 4), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        codes = vqvae.quantize.get_codebook_entry(tokens.flatten(), (2, 4, 4, 4))
        expected = vqvae.decoder(vqvae.post_quant_conv(codes))
        found = ours.decode_tokens(tokens)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.std() > 0.1


def test_texts_are_padded_and_cut(pipeline):
    ids = pipeline.encode_prompt(["", "sparse forest", "a plane " * 50])
    assert ids.shape == (3, 12)
    assert ids.dtype == torch.int64
    padding = pipeline.tokenizer.pad_token_id
    assert (ids[:, 0] == pipeline.tokenizer.bos_token_id).all()
    assert (ids[0, 1:] == padding).all()
    assert ids[1, -1] == padding
    assert (ids[2, 1:-1] != padding).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, r"temperature=0\.0 has to be from 0\.01 to 100"),
        ({"temperature": -1.0}, r"temperature=-1\.0 has to be from 0\.01 to 100"),
        ({"temperature": 0.0099}, r"temperature=0\.0099 has to be from"),
        ({"temperature": 1e-38}, r"temperature=1e-38 has to be from"),
        ({"temperature": 100.5}, r"temperature=100\.5 has to be from"),
        ({"temperature": float("nan")}, r"temperature=nan has to be from"),
        ({"top_p": float("nan")}, r"top_p=nan in \(0, 1\]"),
        ({"guidance_scale": float("nan")}, r"guidance_scale=nan has to be from 0 to 100"),
        ({"guidance_scale": 100.5}, r"guidance_scale=100\.5 has to be from 0 to 100"),
        ({"top_k": -1}, "top_k=-1 a whole number of at least 0"),
        ({"top_p": 0.0}, r"top_p=0\.0 in \(0, 1\]"),
        ({"top_p": 1.1}, r"top_p=1\.1 in \(0, 1\]"),
        ({"guidance_scale": -0.1}, r"guidance_scale=-0\.1 has to be from 0"),
        ({"num_images_per_prompt": 0}, "num_images_per_prompt=0 at least 1"),
        ({"output_type": "jpeg"}, "output_type='jpeg' is unknown; use one of pil, np, pt, latent"),
        ({"prompt": []}, "prompt is an empty list"),
        ({"generator": [torch.Generator()]}, "1 generators for 2 images; give one an image"),
    ],
)
def test_wrong_arguments_are_named(pipeline, options, message):
    with pytest.raises(ValueError, match=message):
        pipeline(**{"prompt": TEXTS[:2], **options})
