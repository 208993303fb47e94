"""A run with each expander, from prompts to rows."""

import json
from collections import Counter

import pytest

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.registry import expander_names, load_expander_for
from terrasynth.prompts.scenes.wording import load_class_words
from terrasynth.synthesis import run
from terrasynth.synthesis.recipe import Recipe
from tests.prompts import chat_server
from tests.prompts.tiny_lm import tiny_lm
from tests.synthesis.helpers import fingerprint, rows

CAPTIONS = {
    "beach": ["White waves beat on a beach of yellow sand.", "A beach with some trees beside it.", "There is a beach."],
    "forest": ["A dense forest with many green trees.", "There is a forest with a path.", "Dark trees in a forest."],
    "river": ["A wide river with green banks.", "There is a river with a bridge.", "A narrow river and some fields."],
}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0815-secret")
    monkeypatch.setenv("NO_PROXY", "*")
    with chat_server.serving() as running:
        yield running


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """A real one, small, that has learned to answer with captions of our grammar."""
    return tiny_lm(tmp_path_factory.mktemp("lm") / "chat", steps=60)


@pytest.fixture
def options(tmp_path, server):
    captions = tmp_path / "captions.jsonl"
    captions.write_text("".join(json.dumps({"label": label, "captions": own}) + "\n"
                                for label, own in CAPTIONS.items()))
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"label": label, "text": text}) + "\n"
                               for label, own in CAPTIONS.items() for text in own))
    return {
        "grammar": {"profile": "open"}, "captions": {"path": str(captions)}, "file": {"path": str(prompts)},
        "layout": {},
        "openai": {"model": "m", "base_url": server.url, "cache": str(tmp_path / "answers"), "per_request": 4},
    }


@pytest.mark.parametrize("name", expander_names())
def test_every_expander_makes_a_data_set_and_the_same_one_again(name, tree, options, server, tmp_path, request):
    if name == "lm":
        options[name] = {"model": str(request.getfixturevalue("language_model")), "words": 16, "batch": 4}
    tree["prompts"] |= {"expander": name, **options[name], "checks": {"max_tokens": "auto", "distinct": True}}
    tree["filters"], tree["target"] = [], {"per_class": 4, "max_attempts": 8}
    recipe = Recipe.parse(tree)
    run(recipe, tmp_path / "run")
    found = rows(tmp_path / "run")
    assert Counter(row["label"] for row in found) == dict.fromkeys(CAPTIONS, 4)
    assert {row["prompt_source"] for row in found} == {name}
    assert all(load_class_words("open").names(row["label"], row["text"]) for row in found)
    paid = len(server.paid)
    assert (paid > 0) == (name == "openai")
    run(recipe, tmp_path / "again")
    assert fingerprint(tmp_path / "again" / "data") == fingerprint(tmp_path / "run" / "data")
    assert len(server.paid) == paid  # the answers are there already
    identity = json.loads((tmp_path / "run" / "identity.json").read_text())
    assert "sk-test-0815-secret" not in json.dumps(identity)


def test_language_models_serve_classes_of_the_users_own(tree, options, tmp_path):
    tree["prompts"] = {"expander": "openai", **options["openai"], "classes": ["sand_mine", "Tennis_Court"]}
    tree["filters"], tree["target"] = [], {"per_class": 2, "max_attempts": 4}
    run(Recipe.parse(tree), tmp_path / "run")
    assert {row["label"] for row in rows(tmp_path / "run")} == {"sand_mine", "tenniscourt"}


def test_classes_reach_only_expanders_that_take_them(options):
    assert load_expander_for(["sand_mine"], "openai", **options["openai"]).classes == ("sand_mine",)
    assert len(load_expander_for(["tennis_court"], "grammar").classes) == 21
    assert len(load_expander_for(None, "openai", **options["openai"]).classes) > 60
    with pytest.raises(InputError, match="option 'classes' is unknown to the grammar expander"):
        load_expander_for(["river"], "grammar", classes=["river"])
