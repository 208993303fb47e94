import pytest

from terrasynth.synthesis.core.identity import Identity, differences, some_differences
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.recipe import Recipe

GENERATOR = {"revision": "abc", "steps": 20, "guidance": 3.0}
PROMPTS = {"expander": "grammar", "ontology": "def"}


def test_attempts_differ_by_identity_class_and_number():
    first, second = Identity.of(0, GENERATOR, PROMPTS), Identity.of(1, GENERATOR, PROMPTS)
    attempts = [each.attempt(label, k) for each in (first, second) for label in ("beach", "forest") for k in range(50)]
    assert len({name for name, _ in attempts}) == len({seed for _, seed in attempts}) == 200
    assert all(len(name) == 16 and 0 <= seed < 2**63 for name, seed in attempts)


def test_ids_never_change():
    # A release that fails here cannot continue the runs of earlier ones.
    identity = Identity.of(0, GENERATOR, PROMPTS)
    assert identity.hash == "df232080364840a3"
    assert identity.attempt("beach", 3) == ("72528de319c6c05d", 6418687246322920885)


def test_order_of_keys_does_not_matter():
    assert Identity.of(0, dict(reversed(GENERATOR.items())), PROMPTS).hash == Identity.of(0, GENERATOR, PROMPTS).hash


def test_differences_name_the_leaf():
    old, new = Identity.of(0, GENERATOR, PROMPTS), Identity.of(0, GENERATOR | {"steps": 25}, PROMPTS)
    assert differences(old.parts, new.parts) == ["generator.steps: was 20, now 25"]
    assert differences(old.parts, old.parts) == []


def test_differences_are_short_and_show_where_they_begin():
    words = [f"word{number}" for number in range(40)]
    found, = differences({"a": words}, {"a": [*words[:-1], "other"]})
    assert len(found) < 140
    assert found.endswith('"other"]')
    assert 'word39"]' in found
    assert differences({"f": [{"kind": "x", "q": 1}]}, {"f": [{"kind": "x", "q": 2}]}) == ["f.0.q: was 1, now 2"]
    many = differences({}, dict.fromkeys("abcdefg", 1))
    assert some_differences(many) == "; ".join(many[:5]) + "; and 2 more"
    assert some_differences(many[:5]) == "; ".join(many[:5])


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"target": {"per_class": 50, "max_attempts": 500}},
        {"filters": []},
        {"output": {"image_format": "webp", "rows_per_shard": 7}},
        {"runtime": {"block_size": 2, "micro_batch": 1, "dtype": "bfloat16", "device": "cpu"}},
        {"prompts": {"expander": "grammar", "classes": ["harbor"]}},
    ],
)
def test_identity_ignores_what_does_not_decide_a_picture(tree, tmp_path, recipe, change):
    assert Job(Recipe.parse(tree | change), tmp_path / "b").identity == Job(recipe, tmp_path / "a").identity


@pytest.mark.parametrize(
    ("section", "change"),
    [
        (None, {"seed": 1}),
        ("generator", {"steps": 3}),
        ("generator", {"guidance": 2.0}),
        ("generator", {"scheduler": "DDIMScheduler"}),
        ("generator", {"height": 48}),
    ],
)
def test_identity_follows_what_decides_a_picture(tree, tmp_path, recipe, section, change):
    changed = tree | (change if section is None else {section: tree[section] | change})
    assert Job(Recipe.parse(changed), tmp_path / "b").identity != Job(recipe, tmp_path / "a").identity


def test_identity_holds_no_path(recipe, tmp_path):
    assert "/" not in str(Job(recipe, tmp_path / "a").identity.parts)


def test_settings_that_are_left_out_are_no_part_of_it(models, tree, recipe, tmp_path):
    # What a generator was identified by before there were LoRA, conditioning and ways of computing.
    from tests.synthesis.helpers import find

    source = find(str(models.generator), steps=2, guidance=3.0)
    before = {
        "revision": source.revision, "steps": 2, "guidance": 3.0, "scheduler": "auto", "height": None, "width": None,
    }
    job = Job(recipe, tmp_path / "a")
    assert job.identity.parts["generator"] == before
    settings = {"lora": None, "lora_scale": 1.0, "vae": None, "conditioning": {}, "options": {}}
    written = tree | {"generator": tree["generator"] | settings}
    runtime = tree["runtime"] | {"attention": "sdpa", "compile": False, "offload": "none"}
    assert Job(Recipe.parse(written | {"runtime": runtime}), tmp_path / "b").identity == job.identity
