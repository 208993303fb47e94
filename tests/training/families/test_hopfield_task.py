"""Training the Hopfield generator: its loss, its views and captions, and a cut run."""

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import dihedral, load_splits
from terrasynth.training.families.hopfield import HopfieldSettings, HopfieldTask, random_crop, resized
from terrasynth.training.families.vq import encode_pictures, fit_codebook
from terrasynth.training.running.loop import train
from terrasynth.training.running.saving import save_model
from terrasynth.training.running.settings import LoopSettings
from tests.tiny import tiny_scene
from tests.tiny_mhn import CODES, tiny_vq

CPU = torch.device("cpu")
TINY = {"size": 32, "width": 32, "blocks": 2, "heads": 2, "head_width": 16, "prototypes": 24, "vocabulary": 600,
        "tokens": 12, "val_pictures": 4}


@pytest.fixture(scope="module")
def splits(real):
    return load_splits(read_pairs(real), 40)


@pytest.fixture(scope="module")
def models(splits, tmp_path_factory):
    """A tokenizer whose codes lie where pictures are, so that pictures differ in their tokens; a classifier."""
    folder = tmp_path_factory.mktemp("models")
    vq = tiny_vq(lookup=True)
    with torch.no_grad():
        latents = vq.encode(resized(splits["train"].pixels, 32)).latents.permute(0, 2, 3, 1).flatten(0, 2)
        vq.quantize.embedding.weight.copy_(fit_codebook(latents, CODES, torch.Generator().manual_seed(0)))
    save_model(vq, folder / "vq")
    tiny_scene(folder / "scene", ("beach", "forest", "river"))
    return folder


@pytest.fixture(scope="module")
def cache(splits, models, tmp_path_factory):
    """The image tokens of one crop, encoded once for all tests."""
    path = tmp_path_factory.mktemp("cache") / "deep" / "tokens.safetensors"
    HopfieldTask(splits, HopfieldSettings(**TINY), CPU, models / "vq", models / "scene", path)
    return path


@pytest.fixture
def make(splits, models, cache):
    def build(kind=HopfieldTask, **settings):
        torch.manual_seed(0)
        return kind(splits, HopfieldSettings(**{**TINY, **settings}), CPU, models / "vq", models / "scene", cache)

    return build


def _batch(task, rows=8, seed=0):
    return task.batch(torch.arange(rows), torch.Generator().manual_seed(seed))


def test_the_loss_starts_near_that_of_guessing(make):
    """The head's scores have unit variance: log K + 1/2 in the mean where they know nothing."""
    task = make()
    losses = task.losses("model", _batch(task, 48), 0.0)
    assert set(losses) == {"cross_entropy"}
    assert losses["cross_entropy"].item() == pytest.approx(math.log(CODES) + 0.5, abs=0.4)


def test_the_loss_is_the_likelihood_of_each_token_given_those_before(make):
    task = make()
    batch = _batch(task)
    found = task.losses("model", batch, 0.0)["cross_entropy"].item()
    text, tokens = batch["text"], batch["tokens"]
    assert tokens.shape == (8, 16)
    total = 0.0
    with torch.no_grad():
        for i in range(16):
            probabilities = task.transformer(text, tokens[:, :i])[:, -1].softmax(-1)
            total -= probabilities.gather(1, tokens[:, i:i + 1]).log().mean().item()
    assert found == pytest.approx(total / 16, rel=1e-4)


def test_text_tokens_are_scored_where_asked_for(make):
    task = make(text_weight=0.3)
    batch = _batch(task)
    losses = task.losses("model", batch, 0.0)
    assert set(losses) == {"cross_entropy", "text"}
    text, tokens, vocabulary = batch["text"], batch["tokens"], len(task.tokenizer)
    with torch.no_grad():
        scores = task.transformer.logits(task.transformer.hidden(text, tokens[:, :0]))[:, :-1]
        assert scores.shape == (8, 11, CODES + vocabulary)
        likelihood = scores[..., CODES:].log_softmax(-1).gather(-1, text[:, 1:, None])
        images = task.transformer(text, tokens[:, :-1]).log_softmax(-1).gather(-1, tokens[..., None])
    assert losses["text"].item() == pytest.approx(-0.3 * likelihood.mean().item(), rel=1e-4)
    assert losses["cross_entropy"].item() == pytest.approx(-images.mean().item(), rel=1e-4)
    assert make().transformer.config.predict_text is False


@pytest.mark.parametrize("rate", [0.0, 0.12, 0.5])
def test_captions_are_dropped_at_the_stated_rate_and_become_the_empty_text(make, rate):
    task = make(caption_dropout=rate)
    empty = task.pipeline().encode_prompt([""])[0]
    dropped, total = 0, 60 * 48
    for seed in range(60):
        text = _batch(task, 48, seed)["text"]
        null = (text == empty).all(1)
        dropped += int(null.sum())
        for row in (~null).nonzero()[:, 0].tolist():
            assert (text[row] == task.text_ids[row]).all(1).any()
    assert dropped / total == pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / total))


def test_every_caption_of_a_picture_and_every_view_is_seen(make):
    task = make(caption_dropout=0.0)
    own, views = task.text_ids[0], task.codes[0].long()
    assert len(own) == 2
    texts, seen = set(), set()
    for seed in range(40):
        batch = task.batch(torch.zeros(8, dtype=torch.int64), torch.Generator().manual_seed(seed))
        texts |= {int((own == text).all(1).int().argmax()) for text in batch["text"]}
        seen |= {int((views == tokens).all(1).int().argmax()) for tokens in batch["tokens"]}
        assert all((views == tokens).all(1).any() for tokens in batch["tokens"])
    assert texts == {0, 1}
    assert len(seen) == len(views.unique(dim=0))


def test_texts_in_training_are_those_of_the_pipeline(make):
    task = make()
    captions = task.splits["train"].captions
    assert torch.equal(task.pipeline().encode_prompt(captions[5]), task.text_ids[5])


def test_a_view_is_the_tokens_of_the_turned_picture(make):
    task = make()
    assert task.codes.shape == (48, 16, 16)
    assert task.codes.dtype == torch.int16
    plain = resized(task.splits["train"].pixels, 32)
    for view in range(8):
        expected = encode_pictures(task.vqvae, dihedral(plain, view)).flatten(1)
        # One batch of 32 there, of 64 here; bfloat16 may round a tie to the other side.
        assert (task.codes[:, view].long() == expected).float().mean() > 0.95
    distinct = {tuple(task.codes[0, view].tolist()) for view in range(8)}
    assert len(distinct) == 8


def test_views_after_the_eighth_are_turned_crops(make):
    task, generator = make(), torch.Generator().manual_seed(0)
    for view in range(8, 16):
        cropped = resized(random_crop(task.splits["train"].pixels, 0.85, generator), 32)
        expected = encode_pictures(task.vqvae, dihedral(cropped, view - 8)).flatten(1)
        assert (task.codes[:, view].long() == expected).float().mean() > 0.95
    assert (task.codes[:, 8] != task.codes[:, 0]).float().mean() > 0.05


def test_crops_are_squares_of_every_allowed_side_and_place():
    pixels = torch.arange(400).view(1, 1, 20, 20).expand(2, 3, 20, 20)
    generator, sides, corners = torch.Generator().manual_seed(0), set(), set()
    for _ in range(200):
        cropped = random_crop(pixels, 0.8, generator)
        side, first = cropped.shape[-1], int(cropped[0, 0, 0, 0])
        top, left = divmod(first, 20)
        assert torch.equal(cropped, pixels[..., top:top + side, left:left + side])
        assert cropped.shape == (2, 3, side, side)
        sides.add(side)
        corners.add((top, left))
    assert sides == {16, 17, 18, 19, 20}
    assert {top for top, _ in corners} == {left for _, left in corners} == {0, 1, 2, 3, 4}


def test_resizing_keeps_range_and_mean():
    pixels = torch.randint(256, (2, 3, 48, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert torch.equal(resized(pixels, 48), pixels.float() / 127.5 - 1)
    smaller = resized(pixels, 16)
    assert smaller.shape == (2, 3, 16, 16)
    assert smaller.abs().max() <= 1
    assert smaller.mean().item() == pytest.approx((pixels.float() / 127.5 - 1).mean().item(), abs=0.02)


def test_image_tokens_are_read_back_from_the_cache(make, cache, splits, models):
    stored = load_file(cache)["codes"]
    fresh = HopfieldTask(splits, HopfieldSettings(**TINY), CPU, models / "vq", models / "scene")
    assert torch.equal(make().codes, stored)
    assert torch.equal(fresh.codes, stored)


def test_two_pictures_are_learned_by_heart(make):
    task = make(caption_dropout=0.0)
    batch = {"text": torch.stack([task.text_ids[0][0], task.text_ids[20][0]]),
             "tokens": task.codes[[0, 20], 0].long()}
    assert not torch.equal(*batch["tokens"])
    optimiser = torch.optim.AdamW(task.transformer.parameters(), lr=1e-2)
    for _ in range(100):
        loss = task.losses("model", batch, 0.0)["cross_entropy"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    assert loss.item() < 0.1 * math.log(CODES)
    captions = [task.splits["train"].captions[row][0] for row in (0, 20)]
    drawn = task.pipeline()(captions, guidance_scale=1.0, top_k=1, output_type="latent").images
    assert torch.equal(drawn.flatten(1), batch["tokens"])


def test_image_tokens_start_from_the_codebook_where_asked_for(make):
    codebook = make().vqvae.quantize.embedding.weight
    alike, free = (make(start_from_codebook=start).transformer for start in (True, False))
    expected = make(start_from_codebook=False).transformer
    assert torch.equal(free.image_embedding.weight, expected.image_embedding.weight)
    expected.embed_codebook(codebook, torch.Generator().manual_seed(0))
    assert torch.equal(alike.image_embedding.weight, expected.image_embedding.weight)
    assert not torch.equal(alike.image_embedding.weight, free.image_embedding.weight)


def test_cross_entropy_of_a_split_is_that_of_whole_pictures_and_first_captions(make):
    task = make(dropout=0.5)
    data = task.splits["val"]
    tokens = encode_pictures(task.vqvae, resized(data.pixels, 32)).flatten(1)
    text = task.pipeline().encode_prompt([captions[0] for captions in data.captions])
    task.transformer.eval()
    with torch.no_grad():
        expected = F.cross_entropy(task.transformer(text, tokens[:, :-1]).flatten(0, 1), tokens.flatten())
    assert task.cross_entropy("val") == pytest.approx(expected.item(), rel=0.01)  # bfloat16 there


def test_validation_judges_pictures_that_are_drawn_from_val_captions(make):
    task = make()
    assert task.preview() is None
    with torch.no_grad():
        figures = task.validate()
    assert figures["n"] == 4
    assert figures["score"] == -figures["nll"]
    assert 0 <= figures["accuracy"] <= 1
    assert task.drawn.shape == (4, 3, 32, 32)
    assert task.preview().dtype.name == "uint8"
    only = make(val_pictures=0)
    with torch.no_grad():
        figures = only.validate()
    assert figures["score"] == -figures["cross_entropy"] == pytest.approx(-only.cross_entropy("val"))
    assert figures["n"] == 12


def test_what_is_saved_is_a_pipeline_of_the_trained_weights(make, tmp_path):
    task = make(temperature=0.9, top_k=30, guidance=2.0)
    with torch.no_grad():
        task.transformer.text_embedding.weight.add_(0.5)
    task.save(tmp_path)
    again = Txt2ImgMHNPipeline.from_pretrained(tmp_path)
    assert again.check_sampling() == (0.9, 30, 1.0)
    for ours, theirs in ((task.transformer, again.transformer), (task.vqvae, again.vqvae)):
        other = theirs.state_dict()
        assert all(torch.equal(value.half().float(), other[key].float()) for key, value in ours.state_dict().items())
    stored = load_file(tmp_path / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert not any(str(tmp_path.parent) in path.read_text() for path in tmp_path.rglob("*.json"))


class _Cut(HopfieldTask):
    """Stops as if the process had been killed."""

    left = math.inf

    def batch(self, rows, generator):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().batch(rows, generator)


def test_a_training_that_was_cut_ends_with_the_same_weights(make, tmp_path):
    loop = LoopSettings(max_steps=8, batch_size=4, learning_rate=3e-3, warmup_steps=2, validate_every=3,
                        preview_every=8, checkpoint_every=3, mixed_precision="no")
    options = {"dropout": 0.2, "text_weight": 0.1, "val_pictures": 2}
    whole = make(_Cut, **options)
    outcome = train(whole, loop, tmp_path / "whole")
    cut = make(_Cut, **options)
    cut.left = 5
    with pytest.raises(KeyboardInterrupt):
        train(cut, loop, tmp_path / "cut")
    resumed = make(_Cut, **options)
    again = train(resumed, loop, tmp_path / "cut")
    assert resumed.left == math.inf
    assert (outcome.steps, outcome.best_step, outcome.figures) == (again.steps, again.best_step, again.figures)
    other = resumed.transformer.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in whole.transformer.state_dict().items())
    weights = "transformer/diffusion_pytorch_model.safetensors"
    saved, other = load_file(tmp_path / "whole" / weights), load_file(tmp_path / "cut" / weights)
    assert all(torch.equal(saved[key], other[key]) for key in saved)


def test_image_tokens_of_another_setting_are_not_read_back(splits, models, cache, tmp_path):
    copied = tmp_path / "tokens.safetensors"
    copied.write_bytes(cache.read_bytes())
    settings = HopfieldSettings(**{**TINY, "crops": 2})
    task = HopfieldTask(splits, settings, CPU, models / "vq", models / "scene", copied)
    assert task.codes.shape[1] == load_file(cache)["codes"].shape[1] + 8
