"""Checks of prompts in a run: the same data set however it is made, and prompts that the generator can read."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from terrasynth.prompts import load_expander
from terrasynth.prompts.checks.checked import CheckedExpander
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.events import BlockDone
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.execution.prompts import PromptDrops
from terrasynth.synthesis.generators.base import GeneratorSource
from terrasynth.synthesis.generators.conditions.caption import Conditioning
from terrasynth.synthesis.generators.token_limits import prompt_tokens
from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.helpers import fingerprint, rows

CHECKS = {"profile": "ucm", "distinct": True, "near": 0.5, "max_tokens": "auto"}


@pytest.fixture
def checked_tree(tree):
    tree["prompts"]["checks"] = CHECKS
    tree["filters"] = []
    tree["target"] = {"per_class": 5, "max_attempts": 8}
    return tree


def short_reader(folder, models, limit, name="tokenizer"):
    """The tiny generator with a tokenizer that reads fewer tokens."""
    if not folder.exists():
        shutil.copytree(models.generator, folder)
    tokenizer = AutoTokenizer.from_pretrained(models.generator / "tokenizer")
    tokenizer.model_max_length = limit
    tokenizer.save_pretrained(folder / name)
    return folder


def source(folder, pipeline="StableDiffusionPipeline", **options):
    return GeneratorSource("tiny", "0", folder, pipeline, 2, 3.0, "auto", None, None, options)


def _refuse(*arguments):
    raise AssertionError("a prompt was asked for")


def test_a_run_with_checks_gives_the_same_data_set_when_it_is_interrupted(checked_tree, tmp_path):
    recipe = Recipe.parse(checked_tree)
    run(recipe, tmp_path / "whole")
    for blocks in (2, 100):
        seen = []
        run(recipe, tmp_path / "pieces", seen.append,
            lambda seen=seen, n=blocks: sum(isinstance(event, BlockDone) and event.drawn > 0 for event in seen) >= n)
    for part in ("data", "blocks"):
        assert fingerprint(tmp_path / "pieces" / part) == fingerprint(tmp_path / "whole" / part)
    texts = [row["text"] for row in rows(tmp_path / "whole")]
    assert len(set(texts)) == len(texts) == 15


def test_growing_keeps_every_row(checked_tree, tmp_path):
    run(Recipe.parse(checked_tree), tmp_path / "run")
    before = rows(tmp_path / "run")
    checked_tree["target"] = {"per_class": 8, "max_attempts": 8}
    run(Recipe.parse(checked_tree), tmp_path / "run")
    after = rows(tmp_path / "run")
    assert after[: len(before)] == before
    assert len(after) == 24


def test_drops_are_those_of_the_attempts_whatever_was_asked_before(checked_tree, tmp_path):
    one, other = (Job(Recipe.parse(checked_tree), tmp_path / name) for name in ("one", "other"))
    one.prompts("forest", 0, 50)
    drops = one.prompt_drops({"forest": 40, "beach": 0})
    assert drops == other.prompt_drops({"forest": 40, "beach": 0})
    assert drops.drops["near duplicate"] > 0
    assert drops.seen == 40 + sum(drops.drops.values())
    assert drops.notes == {}
    assert one.prompt_drops({"forest": 0}) == PromptDrops(0, {}, {})
    checked_tree["prompts"].pop("checks")
    assert Job(Recipe.parse(checked_tree), tmp_path / "none").prompt_drops({"forest": 40}) is None


def test_drops_are_kept_with_the_run_and_asked_again_only_for_other_attempts(checked_tree, tmp_path, monkeypatch):
    first = Job(Recipe.parse(checked_tree), tmp_path / "run").prompt_drops({"forest": 20})
    job = Job(Recipe.parse(checked_tree), tmp_path / "again")
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    with monkeypatch.context() as patched:
        patched.setattr(CheckedExpander, "expand", _refuse)
        assert job.prompt_drops({"forest": 20}) == first
        with pytest.raises(AssertionError, match="a prompt was asked for"):
            job.prompt_drops({"forest": 21})
    assert job.prompt_drops({"forest": 30}).seen > first.seen
    (tmp_path / "again" / "prompt_drops.json").write_text("[]")
    with pytest.raises(RunError, match=r"prompt_drops\.json cannot be read .*; remove it and run again"):
        job.prompt_drops({"forest": 20})


def test_checks_belong_to_the_identity_and_none_leave_it_as_it_was(checked_tree, tmp_path):
    def identity(checks):
        checked_tree["prompts"].pop("checks", None)
        checked_tree["prompts"] |= {"checks": checks} if checks is not None else {}
        return Job(Recipe.parse(checked_tree), tmp_path / "run").identity

    without = identity(None)
    assert "checks" not in without.parts["prompts"]
    assert identity({"view": False, "keep_class": False}) == without
    assert len({identity(checks).hash for checks in (None, CHECKS, {**CHECKS, "max_tokens": 60})}) == 3
    assert identity(CHECKS).parts["prompts"]["checks"]["max_tokens"] == 77


def test_prompts_fit_the_tokenizer_instead_of_being_refused(checked_tree, models, tmp_path):
    folder = short_reader(tmp_path / "short", models, 40)
    checked_tree["generator"]["model"] = str(folder)
    checked_tree["target"]["max_attempts"] = 60
    checked_tree["prompts"]["checks"] = {"profile": "ucm", "max_tokens": "auto"}
    job = Job(Recipe.parse(checked_tree), tmp_path / "run")
    tokens = prompt_tokens(job.source)
    assert tokens.limit == 40
    prompts = [prompt for label in job.classes for prompt in job.prompts(label, 0, 60)]
    assert all(tokens.count(prompt.text) <= 40 for prompt in prompts)
    unchecked = [one for label in job.classes for one in load_expander("grammar").expand(label, 0, 0, 60)]
    assert any(tokens.count(prompt.text) > 40 for prompt in unchecked)
    scenes = {prompt.whole for prompt in prompts}
    assert any(prompt.whole in scenes for prompt in unchecked if tokens.count(prompt.text) > 40)
    checked_tree["prompts"].pop("checks")
    with pytest.raises(InputError, match=r"tokens and 'short' reads 40"):
        Job(Recipe.parse(checked_tree), tmp_path / "run")


def test_the_template_of_a_tuned_model_counts(checked_tree, models, tmp_path):
    folder = short_reader(tmp_path / "short", models, 40)
    checked_tree["generator"]["model"] = str(folder)
    checked_tree["target"]["max_attempts"] = 60
    checked_tree["prompts"]["checks"] = {"profile": "ucm", "max_tokens": "auto"}
    plain = Job(Recipe.parse(checked_tree), tmp_path / "run")
    assert plain.identity.parts["prompts"]["checks"].keys() == {"revision", "max_tokens", "view", "keep_class"}
    Conditioning(template="a large satellite image of {label}: {caption}").save(folder)
    job = Job(Recipe.parse(checked_tree), tmp_path / "run")
    assert job.identity.parts["prompts"]["checks"]["max_tokens_of"] == "the text as the model reads it"
    tokens, label = prompt_tokens(job.source), job.classes[0]
    before, now = plain.prompts(label, 0, 60), job.prompts(label, 0, 60)
    assert max(map(tokens.count, job.maker.read_texts(label, before))) > 40
    assert max(map(tokens.count, job.maker.read_texts(label, now))) <= 40
    job.maker.check_prompts(label, 0, now)
    checked_tree["prompts"].pop("checks")
    with pytest.raises(InputError, match=r"with the model's own template 'a large .*' around it, has .* reads 40: .*; "
                                         r"shorten it, or set prompts\.checks\.max_tokens to auto"):
        Job(Recipe.parse(checked_tree), tmp_path / "run")


def test_the_smallest_of_several_limits_counts(models, tmp_path):
    folder = short_reader(tmp_path / "two", models, 50)
    short_reader(folder, models, 40, "tokenizer_2")
    text = "a river with trees"
    tokens = prompt_tokens(source(folder))
    assert tokens.limit == 40
    real = AutoTokenizer.from_pretrained(folder / "tokenizer")
    assert tokens.count(text) == len(real(text).input_ids)
    assert prompt_tokens(source(folder, "PixArtAlphaPipeline")).limit == 40
    assert prompt_tokens(source(folder, "PixArtAlphaPipeline", max_sequence_length=30)).limit == 30
    (folder / "tokenizer_2").rename(tmp_path / "elsewhere")
    long = short_reader(tmp_path / "long", models, 512)
    assert prompt_tokens(source(folder)).limit == 50
    assert prompt_tokens(source(long, "PixArtAlphaPipeline")).limit == 120
    assert prompt_tokens(source(long, "Txt2ImgMHNPipeline")).limit == 512


def test_the_limit_is_that_of_the_loaded_generator(recipe, tmp_path):
    job = Job(recipe, tmp_path / "run")
    tokens = prompt_tokens(job.source)
    assert tokens.limit == job.maker.generator.token_limit
    assert tokens.count("several boats") == job.maker.generator.count_tokens("several boats")


def test_a_model_without_tokenizer_or_limit_is_named(models, tmp_path):
    with pytest.raises(InputError, match=r"model 'tiny' has no tokenizer; leave prompts\.checks\.max_tokens out"):
        prompt_tokens(source(tmp_path))
    folder = short_reader(tmp_path / "endless", models, 10**30)
    config = folder / "tokenizer" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_max_length": 10**30}))
    with pytest.raises(InputError, match=r"names no limit; set prompts\.checks\.max_tokens to a number"):
        prompt_tokens(source(folder))
    (folder / "tokenizer" / "tokenizer.json").write_text("{")
    config.write_text("{")
    with pytest.raises(InputError, match="'tokenizer' of the model cannot be loaded"):
        prompt_tokens(source(folder))


def test_classes_may_be_written_as_people_write_them(tree, tmp_path):
    plain = Job(Recipe.parse(tree), tmp_path / "run")
    tree["prompts"]["classes"] = ["River", "forests", "beaches"]
    spelt = Job(Recipe.parse(tree), tmp_path / "run")
    assert spelt.classes == plain.classes
    assert spelt.identity == plain.identity
    tree["prompts"]["classes"] = ["river", "River"]
    assert Job(Recipe.parse(tree), tmp_path / "run").classes == ("river",)  # once, however it is written


def test_card_and_report_say_what_was_dropped(checked_tree, tmp_path):
    checked_tree["prompts"]["checks"] = {"profile": "ucm", "near": 0.3}
    job = Job(Recipe.parse(checked_tree), tmp_path / "run")
    run(Recipe.parse(checked_tree), tmp_path / "run")
    dropped = job.prompt_drops(dict.fromkeys(job.classes, 8))
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert report["prompts"] == {"seen": dropped.seen, "dropped": dropped.drops, "notes": {}}
    assert report["prompts"]["dropped"]["near duplicate"] > 0
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"| dropped: near duplicate | {dropped.drops['near duplicate']} |" in card
    assert "Prompts dropped, by reason" in (tmp_path / "run" / "report" / "index.html").read_text()


def test_judging_again_asks_for_no_prompt(checked_tree, tmp_path, monkeypatch):
    run(Recipe.parse(checked_tree), tmp_path / "run")
    monkeypatch.setattr(CheckedExpander, "expand", _refuse)
    assert run(Recipe.parse(checked_tree), tmp_path / "run").drawn == 0
