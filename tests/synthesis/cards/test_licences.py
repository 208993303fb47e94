"""What a data set inherits from what it was made with."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml

from terrasynth.synthesis.cards.licence_sources import load_licence, read_card, save_licence, sources_of
from terrasynth.synthesis.cards.licences import KNOWN, Source, Statement, inherit
from terrasynth.synthesis.core.embedded import WEIGHTS
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.records import SEAL
from terrasynth.synthesis.recipe import Recipe


def _sources(*licences):
    return [Source("generator", f"model-{number}", name) for number, name in enumerate(licences)]


@pytest.mark.parametrize(
    ("licences", "inherited"),
    [
        (["mit"], "mit"),
        (["mit", "apache-2.0"], "mit"),
        (["apache-2.0", "cc-by-4.0"], "cc-by-4.0"),
        (["cc-by-4.0", "cc-by-sa-4.0", "mit"], "cc-by-sa-4.0"),
        (["cc-by-nc-4.0", "mit"], "cc-by-nc-4.0"),
        (["gpl-3.0", "mit"], "gpl-3.0"),
        (["cc-by-nd-4.0", "cc-by-nc-4.0"], "cc-by-nc-nd-4.0"),
        (["cc-by-4.0", "creativeml-openrail-m"], "creativeml-openrail-m"),
    ],
)
def test_the_result_carries_every_restriction(licences, inherited):
    assert inherit(_sources(*licences)).header() == {"license": inherited}


def test_any_two_licences_give_one_at_least_as_strict_or_none():
    for pair in itertools.combinations(KNOWN, 2):
        found = inherit(_sources(*pair))
        if found.missing:
            assert found.header() == {"license": "other", "license_name": "not-stated-yet"}
        else:
            assert KNOWN[found.licence] >= KNOWN[pair[0]] | KNOWN[pair[1]]


@pytest.mark.parametrize("unknown", ["", "other", "some-new-licence"])
def test_what_is_not_known_leaves_it_open(unknown):
    found = inherit(_sources("mit", unknown))
    assert "model-1" in found.missing
    reason = "I made the weights" if unknown else ""
    stated = inherit(_sources("mit", unknown), Statement("mit", by="me", reason=reason))
    assert (stated.stated_by, stated.reason) == ("me", reason)


RESEARCH = Source("generator", "ldm", "other", "research-captions")


@pytest.mark.parametrize("stated", ["mit", "apache-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "openrail"])
@pytest.mark.parametrize("source", [RESEARCH, Source("LoRA", "l", "other", "non-commercial-use"),
                                    Source("real data", "r", "deepfloyd-if-license")])
def test_what_is_looser_than_a_licence_nobody_knows_needs_a_reason(source, stated):
    with pytest.raises(InputError, match=rf"'{stated}' may be looser than that of .* give --licence-reason TEXT"):
        inherit([*_sources("mit"), source], Statement(stated, by="me"))
    found = inherit([*_sources("mit"), source], Statement(stated, by="me", reason="I own all of it."))
    assert (found.licence, found.stated_by, found.reason) == (stated, "me", "I own all of it.")


@pytest.mark.parametrize(("source", "where"), [
    (read_card(WEIGHTS / "ldm-ucm", "generator", "ldm-ucm"), "LICENSE-weights.md"),
    (Source("LoRA", "l", "other", "mine", "https://a.example/terms"), "https://a.example/terms"),
])
def test_a_refusal_says_where_the_terms_are(source, where):
    assert where in inherit([source]).missing
    with pytest.raises(InputError, match=rf"whose terms are in {re.escape(where)}.*give --licence-reason TEXT"):
        inherit([source], Statement("mit", by="me"))
    assert where.startswith("https") or (Path(__file__).parents[3] / where).is_file()


def test_what_keeps_to_a_licence_for_research_needs_no_reason():
    for kept in (Statement("cc-by-nc-4.0"), Statement("cc-by-nc-sa-4.0"),
                 Statement("other", "research-only", "LICENSE"),
                 Statement("other", "research-captions", "LICENSE", reason="not needed")):
        assert inherit([RESEARCH], kept).reason == ""
    assert inherit([Source("generator", "m", "c-uda")], Statement("c-uda")).licence == "c-uda"


def test_a_reason_is_kept_and_a_statement_without_one_no_longer_holds(tmp_path):
    save_licence(tmp_path, inherit([RESEARCH], Statement("mit", by="me", reason="I own all of it.")))
    assert json.loads((tmp_path / "licence.json").read_text())["stated"]["reason"] == "I own all of it."
    assert load_licence(tmp_path).reason == "I own all of it."
    content = json.loads((tmp_path / "licence.json").read_text())
    del content["stated"]["reason"], content[SEAL]  # as earlier versions wrote it
    (tmp_path / "licence.json").write_text(json.dumps(content))
    assert load_licence(tmp_path).missing


@pytest.mark.parametrize(
    "licences",
    [
        ("cc-by-sa-4.0", "cc-by-nd-4.0"), ("cc-by-sa-4.0", "cc-by-nc-4.0"), ("cc-by-sa-4.0", "gpl-3.0"),
        ("llama2", "gemma"), ("gemma", "cc-by-nc-4.0"),
    ],
)
def test_what_goes_into_no_one_licence_is_for_the_user_to_state(licences):
    assert "no one licence carries" in inherit(_sources(*licences)).missing


@pytest.mark.parametrize("source", ["cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-sa-4.0", "gpl-3.0", "openrail"])
@pytest.mark.parametrize("stated", ["mit", "cc-by-4.0"])
def test_a_statement_may_be_stricter_and_not_laxer(source, stated):
    assert inherit(_sources(source), Statement(stated, reason="bought")).reason == "bought"
    with pytest.raises(InputError, match=f"'{stated}' leaves out .* which generator 'model-0' asks for"):
        inherit(_sources(source, ""), Statement(stated))
    assert inherit(_sources("mit"), Statement(source)).licence == source
    assert inherit(_sources(source), Statement("c-uda", by="me")).licence == "c-uda"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (("apache2.0",), r"licence 'apache2.0' is unknown \(did you mean 'apache-2.0'\?\)"),
        (("other",), "needs a name and a link"),
        (("mit", "mine", "https://example.org"), "leave --licence-name and --licence-link out"),
        (("other", "My Terms", "https://example.org"), "is no identifier"),
        (("other", "mine", "https://user:pa55word@host/x"), r"link https://\*\*\*@host/x holds credentials"),
        (("mit", "", "", "me", "x" * 501), "has 501 signs; give one line of at most 500"),
        (("mit", "", "", "me", "a\x1b]0;b"), "give one line"),
    ],
)
def test_statements_follow_the_rules_of_the_hub(statement, words):
    with pytest.raises(InputError, match=words):
        Statement(*statement)


def test_a_card_says_its_licence(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: CC-BY-4.0\ntags: [x]\n---\n\n# model\n")
    assert read_card(tmp_path, "generator", "m") == Source("generator", "m", "cc-by-4.0", found="its card")
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: mine\nlicense_link: LICENSE\n---\n")
    assert read_card(tmp_path, "LoRA", "m").described == "other (mine)"
    (tmp_path / "README.md").write_text("# no header\n")
    assert read_card(tmp_path, "generator", "m").restrictions is None
    (tmp_path / "README.md").write_text("---\nlicense: [mit, gpl-3.0]\n---\n")
    assert read_card(tmp_path, "generator", "m").restrictions is None


@pytest.mark.parametrize("given", ["{home}/l", "~/l", "~/l/pytorch_lora_weights.safetensors"])
def test_the_card_of_a_lora_is_read_however_it_is_named(tmp_path, monkeypatch, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    (tmp_path / "l" / "pytorch_lora_weights.safetensors").write_bytes(b"not read")
    tree = {"generator": {"model": "ldm-ucm", "lora": given.format(home=tmp_path)}}
    _, lora, _ = sources_of(Recipe.parse(tree))
    assert lora == Source("LoRA", "l", "cc-by-nc-4.0", found="its card")


@pytest.mark.parametrize("given", ["{home}/p/v", "~/p/v"])
@pytest.mark.parametrize(("card", "index"), [("p/v/README.md", None), ("p/README.md", "p/model_index.json")])
def test_the_card_of_an_autoencoder_is_its_own_or_that_of_its_pipeline(tmp_path, monkeypatch, given, card, index):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p" / "v").mkdir(parents=True)
    (tmp_path / card).write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    if index:
        (tmp_path / index).write_text("{}")
    tree = {"generator": {"model": "ldm-ucm", "vae": given.format(home=tmp_path)}}
    _, vae, _ = sources_of(Recipe.parse(tree))
    assert vae == Source("autoencoder", "p/v" if index else "v", "cc-by-nc-4.0", found="its card")


def test_the_autoencoder_of_an_embedded_model_has_the_card_of_the_model():
    generator, vae, _ = sources_of(Recipe.parse({"generator": {"model": "ldm-ucm", "vae": "ldm-ucm/vae"}}))
    assert (vae.role, vae.name, vae.licence) == ("autoencoder", "ldm-ucm/vae", generator.licence)
    assert vae.found == "its card"


def test_the_commit_of_a_generator_is_asked_without_what_is_added(monkeypatch):
    asked = []
    monkeypatch.setattr("terrasynth.synthesis.cards.licence_sources.hub_card",
                        lambda reference, kind: asked.append(reference))
    tree = {"generator": {"model": "owner/base@main", "lora": "owner/nir", "vae": "owner/small@v1"}}
    sources_of(Recipe.parse(tree), revision="abc+0123*0.5+vae:4567")
    assert asked == ["owner/base@abc", "owner/nir", "owner/small@v1"]


@pytest.fixture
def no_hub(monkeypatch):
    """Any request for a card fails the test."""
    def asked(name, *_, **__):
        raise AssertionError(f"{name} was asked for")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", asked)


def test_a_folder_that_is_called_as_a_model_on_the_hub_may_be_is_not_asked_for_there(tmp_path, monkeypatch, no_hub):
    monkeypatch.chdir(tmp_path)
    parts = {"lora": "own/lora", "vae": "own/vae", "control": "own/control"}
    tree = {"generator": {"model": "own/sd", **parts}, "prompts": {"expander": "lm", "model": "own/writer"}}
    for name in ("sd", "lora", "vae", "control", "writer"):
        (tmp_path / "own" / name).mkdir(parents=True)
    (tmp_path / "own" / "sd" / "model_index.json").write_text("{}")
    revision = "0123456789abcdef+0123456789abcdef*1+vae:0123456789abcdef"
    here = sources_of(Recipe.parse(tree), tmp_path / "own" / "sd", revision)
    assert [(each.role, each.found) for each in here] == [
        (role, "nothing says") for role in ("generator", "LoRA", "autoencoder", "control", "prompts")]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # where nothing of that name is
    there = sources_of(Recipe.parse(tree), revision=revision, later=True)
    assert [each.found for each in there] == ["nothing says"] * 5


def test_a_run_that_is_read_in_another_folder_asks_for_none_of_its_folders(finished, tmp_path, monkeypatch, no_hub):
    recipe = yaml.safe_load((finished / "recipe.yaml").read_text())
    recipe["generator"]["model"] = "own/sd"  # as it was called where it was run
    (finished / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (finished / "licence.json").unlink()
    monkeypatch.chdir(tmp_path)
    assert load_licence(finished).sources[0] == Source("generator", "own/sd")


def test_a_run_that_is_read_later_asks_for_the_commit_that_it_was_drawn_with(monkeypatch):
    asked = []
    monkeypatch.setattr("terrasynth.synthesis.cards.licence_sources.hub_card",
                        lambda reference, kind: asked.append(reference))
    tree = {"generator": {"model": "owner/base", "lora": "owner/nir@v1", "vae": "owner/small"}}
    sources_of(Recipe.parse(tree), revision=f"{'0a' * 20}+0123*0.5", later=True)
    assert asked == [f"owner/base@{'0a' * 20}", "owner/nir@v1"]


def test_a_card_that_stands_for_more_than_a_header_may_is_refused_at_once(tmp_path):
    header = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + chr(ord(name) - 1)] * 10)}]\n" for name in "bcdefgh")
    (tmp_path / "README.md").write_text(f"---\n{header}license: mit\n---\n")
    with pytest.raises(InputError, match="is not YAML: it stands for more than"):
        read_card(tmp_path, "generator", "m")


def test_the_embedded_models_ask_for_a_statement():
    for model in ("ldm-ucm", "mhn-ucm"):
        generator, prompts = sources_of(Recipe.parse({"generator": {"model": model}}))
        assert (generator.licence, generator.licence_name) == ("other", "research-captions")
        assert (prompts.licence, prompts.found) == ("apache-2.0", "this package")


def test_captions_are_their_owners_to_speak_for(tmp_path):
    tree = {"generator": {"model": "ldm-ucm"}, "prompts": {"expander": "captions", "path": str(tmp_path / "mine.csv")}}
    prompts = sources_of(Recipe.parse(tree))[-1]
    assert (prompts.name, prompts.described) == ("captions mine.csv", "not stated")


def test_an_ontology_is_its_writers_to_speak_for():
    tree = {"generator": {"model": "ldm-ucm"}, "prompts": {"expander": "grammar", "ontology": "/home/me/classes.yaml"}}
    assert sources_of(Recipe.parse(tree))[-1] == Source("prompts", "grammar with classes.yaml")


def test_a_run_remembers_what_was_stated(tmp_path):
    sources = _sources("mit", "")
    save_licence(tmp_path, inherit(sources, Statement("cc-by-4.0", by="somebody")))
    assert load_licence(tmp_path).stated_by == "somebody"
    changed = load_licence(tmp_path, _sources("mit", "", ""))
    assert (len(changed.sources), changed.licence) == (3, "cc-by-4.0")
    stricter = load_licence(tmp_path, _sources("cc-by-nc-4.0"))
    assert (stricter.licence, stricter.stated_by) == ("cc-by-nc-4.0", "")
    path = tmp_path / "licence.json"
    path.write_text(path.read_text().replace("cc-by-4.0", "cc-by-5.0"))
    with pytest.raises(RunError, match=r"licence\.json cannot be read .its content is not what was written"):
        load_licence(tmp_path)
    path.write_text(json.dumps({"sources": 3}))
    with pytest.raises(RunError, match=r"licence\.json cannot be read"):
        load_licence(tmp_path)
