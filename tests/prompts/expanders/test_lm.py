"""The lm expander with small real models: the same prompts however they are asked for, each of its class."""

import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrasynth.prompts import Expander, load_expander
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.expanders.lm import LMExpander
from terrasynth.prompts.language_models.local import LanguageModel
from terrasynth.prompts.language_models.request import FRAMES, CaptionRequests
from terrasynth.prompts.language_models.sampling import SMALLEST, draw, processors
from terrasynth.prompts.scenes.draws import Draws
from tests.prompts import tiny_lm as tiny

CLASSES = [*tiny.CLASSES, "sand_mine"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that has learned to answer."""
    return tiny.tiny_lm(tmp_path_factory.mktemp("lm") / "chat", steps=80)


@pytest.fixture(scope="module")
def babbling(tmp_path_factory):
    """A model that has learned nothing."""
    return tiny.tiny_lm(tmp_path_factory.mktemp("lm") / "random", steps=0)


@pytest.fixture(scope="module")
def expander(folder):
    return make(folder)


def make(folder, **options):
    return load_expander("lm", **{"model": folder, "profile": "ucm", "classes": CLASSES, "batch": 4, **options})


def texts(expander, label="harbor", seed=0, start=0, count=8):
    return [one.text for one in expander.expand(label, seed, start, count)]


def with_template(folder, place, template):
    """A copy of a model folder with another chat template, or none."""
    shutil.copytree(folder, place)
    (place / "chat_template.jinja").unlink()
    if template is not None:
        (place / "chat_template.jinja").write_text(template)
    return place


def test_prompts_are_of_their_class(expander):
    assert isinstance(expander, Expander)
    assert expander.classes == tuple(CLASSES)
    for label, name in {"airplane": "airplane", "tenniscourt": "tennis court", "sand_mine": "sand mine"}.items():
        prompts = expander.expand(label, 0, 0, 12)
        assert {(one.label, one.source, one.scene, one.captions == (one.text,)) for one in prompts} == \
            {(label, "lm", "{}", True)}
        assert all(name in one.text.lower() for one in prompts)
        assert all(3 <= len(one.text.split()) <= 20 for one in prompts)
        assert len({one.text for one in prompts}) > 6
    # what it learned of a class stands as it was written; a class it never saw needs a frame
    own = texts(expander, "harbor", count=24)
    assert sum(not re.match("Harbor: |A harbor with (?:some|many|lots of) boats", one) for one in own) > 12
    assert all(re.match(r"Sand mine: |An? (?:\w+ ){0,4}sand mines? |.*\bsand mine", one)
               for one in texts(expander, "sand_mine", count=12))


@settings(deadline=None, max_examples=10)
@given(start=st.integers(0, 11), count=st.integers(0, 6))
def test_any_window_of_the_stream_is_the_same_stream(folder, expander, start, count):
    assert expander.expand("river", 7, start, count) == expander.expand("river", 7, 0, 20)[start : start + count]


@pytest.mark.slow
def test_neither_order_nor_process_matters(python, folder, expander):
    whole = texts(expander, "harbor", 5, 0, 12)
    fresh = make(folder)
    assert texts(fresh, "river", 5, 8, 2) == texts(expander, "river", 5, 0, 12)[8:10]
    assert texts(fresh, "harbor", 5, 9, 3) == whole[9:]
    assert texts(fresh, "harbor", 5, 2, 5) == whole[2:7]
    assert texts(fresh, "harbor", 6, 0, 12) != whole
    code = ("import json, sys; from terrasynth.prompts import load_expander\n"
            f"one = load_expander('lm', model={str(folder)!r}, profile='ucm', batch=4)\n"
            "print(json.dumps([[each.text for each in one.expand('harbor', 5, 4, 8)], one.identity()]))")
    done = python.run("-c", code, check=True)
    assert json.loads(done.stdout) == [whole[4:], expander.identity()]
    assert "Warning" not in done.stderr


def test_identity_is_what_decides_prompts(folder, babbling, expander):
    base = make(folder).identity()
    assert base == expander.identity()
    assert str(folder) not in json.dumps(base)
    assert all(make(folder, **same).identity() == base
               for same in ({"tries": 3}, {"classes": ["harbor"]}, {"device": "cpu"}, {"dtype": "float32"}))
    assert all(make(folder, **other).identity() != base for other in (
        {"batch": 5}, {"temperature": 0.9}, {"top_k": 5}, {"top_p": 0.5}, {"words": 12}, {"examples": ["A lake."]},
        {"max_new_tokens": 30}, {"dtype": "bfloat16"}))
    assert make(babbling).identity() != base


def test_colder_models_say_less(folder):
    cold, warm = (set(texts(make(folder, top_k=top_k, batch=16), count=16)) for top_k in (1, 0))
    assert len(cold) < len(warm)


def test_refusals_are_counted_and_drawn_again(folder, expander):
    hot = make(folder, temperature=1.4, top_p=1.0, tries=100)
    prompts = texts(hot, "river", count=12)
    assert len(prompts) == 12
    drops = hot.drops("river")
    assert drops
    assert set(drops) <= {"empty", "no text", "cut off", "too short", "too long", "ground-level view", "another class",
                          "class missing"}
    assert hot.seen("river") == 12 + sum(drops.values())
    assert texts(hot, "river", start=3, count=4) == prompts[3:7]
    assert hot.seen("river") == 12 + sum(drops.values())
    assert (hot.drops("harbor"), hot.seen("harbor")) == ({}, 0)


def test_a_model_that_never_gives_anything_usable_ends_in_one_line(babbling):
    message = r"random' of the lm expander gave no usable prompt for attempt 0 of class 'harbor' in 3 tries \(.*no text"
    with pytest.raises(InputError, match=message) as caught:
        texts(make(babbling, tries=3))
    assert "\n" not in str(caught.value)


def test_the_chat_template_is_used(folder, tmp_path):
    asking = CaptionRequests("lm", CLASSES, "ucm", 20, None)
    user = asking.one("harbor", Draws(1))
    model = LanguageModel(folder, None, "cpu", "auto")
    assert model.chats
    tokens = model.request(asking.system(), user)
    assert model.tokenizer.decode(tokens) == f"{tiny.USER}{user}{tiny.ANSWER}"
    strict = LanguageModel(with_template(folder, tmp_path / "strict", tiny.WITHOUT_SYSTEM), None, "cpu", "auto")
    merged = strict.tokenizer.decode(strict.request(asking.system(), user))
    assert merged == f"{tiny.USER}{asking.system()}\n\n{user}{tiny.ANSWER}"
    broken = with_template(folder, tmp_path / "broken", "{{ raise_exception('no\nrole') }}")
    with pytest.raises(InputError, match=r"its chat template fails \(no role\); take another model"):
        make(broken)


def test_a_model_without_chat_template_goes_on_with_a_caption(folder, tmp_path):
    plain = make(with_template(folder, tmp_path / "plain", None), examples=["A lake in woods."], tries=50)
    tokens = plain._prompt("harbor", 0, 0, 0)[1]
    said = plain._model.tokenizer.decode(tokens)
    assert said.splitlines()[1] == "- A lake in woods."
    assert not re.search("<|Scene class", said)
    starts = [frame.format("a harbor").lower() for frame in FRAMES]
    prompts = texts(plain)
    begun = "|".join(map(re.escape, starts))
    assert all(re.match(rf"(?:{begun})\b", one.lower()) for one in prompts)


def test_the_cache_folder_keeps_prompts(folder, tmp_path):
    first = make(folder, cache=tmp_path)
    prompts = texts(first, "river")
    again = make(folder, cache=tmp_path)
    assert texts(again, "river") == prompts == texts(make(folder), "river")
    assert again.drops("river") == first.drops("river")
    assert "model" not in vars(again._model)  # its weights were not needed
    assert len(list(tmp_path.glob("lm-*.json"))) == 2
    texts(make(folder, cache=tmp_path, top_p=0.9), "river", count=1)
    assert len(list(tmp_path.glob("lm-*.json"))) == 3


def test_settings_that_a_model_brings_change_nothing(folder, expander, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    brought = {"repetition_penalty": 9.0, "do_sample": True, "temperature": 0.1, "max_length": 3, "num_beams": 2}
    (own / "generation_config.json").write_text(json.dumps(brought))
    assert texts(make(own)) == texts(expander)


def softmax(logits):
    exponents = np.exp(logits - logits.max())
    return exponents / exponents.sum()


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.8, 20, 1.0), (1.3, 0, 0.7)])
def test_noise_and_greed_are_sampling(folder, temperature, top_k, top_p):
    """First tokens follow the model's own probabilities, filtered as written down here once more."""
    import torch

    n = 6000
    model = LanguageModel(folder, None, "cpu", "auto")
    prompt = model.request("", CaptionRequests("lm", CLASSES, "ucm", 20, None).one("harbor", Draws(1)))
    with torch.no_grad():
        logits = model.model(torch.tensor([prompt])).logits[0, -1].double().numpy() / temperature
    order = np.argsort(-logits)
    kept = order[:top_k] if top_k else order
    before = np.cumsum(softmax(logits)[kept]) - softmax(logits)[kept]
    kept = kept[before < top_p]
    expected = np.zeros(len(logits))
    expected[kept] = softmax(logits[kept])

    drawn = [draw(model.model, [prompt] * 500, processors(range(first, first + 500), temperature, top_k, top_p), 1, ())
             for first in range(0, n, 500)]
    counts = np.bincount([row.tokens[0] for rows in drawn for row in rows], minlength=len(logits))
    assert counts[expected == 0].sum() == 0
    often = expected * n >= 5
    observed = np.append(counts[often], counts[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum()) * n
    observed, wanted = observed[wanted > 0], wanted[wanted > 0]
    freedom = len(wanted) - 1
    assert freedom >= 3
    chi2 = ((observed - wanted) ** 2 / wanted).sum()
    assert chi2 < freedom + 5 * np.sqrt(2 * freedom)  # five standard deviations
    flat = np.full(len(wanted), wanted.sum() / len(wanted))
    assert ((observed - flat) ** 2 / flat).sum() > freedom + 50 * np.sqrt(2 * freedom)


def test_neighbours_in_a_batch_do_not_matter(folder):
    model = LanguageModel(folder, None, "cpu", "auto")
    asking = CaptionRequests("lm", CLASSES, "ucm", 20, None)
    rows = [model.request("", asking.one(label, Draws(k))) + [5] * k for k, label in enumerate(tiny.CLASSES)]
    assert len(set(map(len, rows))) > 1
    together = draw(model.model, rows, processors([4, 5, 6, 2**127], 1.0, 0, 0.95), 40, model.ends)
    alone = [draw(model.model, [row], processors([key], 1.0, 0, 0.95), 40, model.ends)[0]
             for row, key in zip(rows, [4, 5, 6, 2**127], strict=True)]
    assert together == alone
    assert len({tuple(one.tokens) for one in together}) == len(rows)
    assert any(one.ended for one in together)
    assert not np.isinf(-np.log(-np.log(SMALLEST)))


def test_a_model_that_cannot_be_used_is_refused_at_once(folder, tmp_path):
    from safetensors.torch import load_file, save_file
    from transformers import CLIPTextConfig

    empty, words, no_weights, damaged = (tmp_path / name for name in ("empty", "words", "none", "damaged"))
    empty.mkdir()
    shutil.copytree(folder, words)
    for path in words.glob("token*"):
        path.unlink()
    shutil.copytree(folder, no_weights)
    (no_weights / "model.safetensors").rename(no_weights / "pytorch_model.bin")
    shutil.copytree(folder, damaged)
    (damaged / "model.safetensors").write_bytes(b"no")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    CLIPTextConfig().save_pretrained(other)
    for options, message in [
        ({"model": tmp_path / "nowhere" / "x"}, "no such folder, and not a Hub id; check the path, or write"),
        ({"model": "gpt2"}, "model 'gpt2' of the lm expander: no such folder, and not a Hub id"),
        ({"model": "nobody/nothing"}, r"'nobody/nothing' of the lm expander cannot be read \(.*\); give a folder"),
        ({"model": 3}, "option model 3 of the lm expander must be a folder, or a Hub id"),
        ({"model": empty}, r"empty' of the lm expander: the folder has no \.safetensors file"),
        ({"model": no_weights}, r"none' of the lm expander: the folder has no \.safetensors file"),
        ({"model": words}, r"words' of the lm expander has no tokenizer that can be read"),
        ({"model": other}, r"is of the type 'clip_text_model', which writes no text"),
        ({"revision": "main"}, "is a folder: leave the option revision out"),
        ({"model": "a/b@c", "revision": "d"}, "names a revision, and the option revision does too"),
        ({"device": "cuda:99"}, "option device 'cuda:99' of the lm expander is not there"),
        ({"dtype": "float8"}, r"option dtype 'float8' of the lm expander is unknown \(did you mean 'float.*use auto"),
        ({"batch": 0}, "option batch 0 of the lm expander must be a whole number from 1"),
        ({"temperature": 0}, "option temperature 0"),
        ({"top_p": 1.5}, "option top_p 1.5"),
        ({"cache": 3}, "option cache 3 of the lm expander must be a folder"),
        ({"examples": ["A lake in the woods with a boat on it. " * 30], "model": with_template(
            folder, tmp_path / "plain", None)}, r"sees 512 tokens, and a request takes \d+ with 76 for the answer"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            make(**{"folder": folder, **options})
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"damaged' of the lm expander has no safetensors weights that can be read"):
        texts(make(damaged))
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"},
              damaged / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"weights that can be read \(lm_head\.weight is missing\)"):
        texts(make(damaged))


def test_it_is_found_by_name():
    with pytest.raises(InputError, match="the lm expander needs the option 'model'"):
        load_expander("lm")
    assert LMExpander.name == "lm"
