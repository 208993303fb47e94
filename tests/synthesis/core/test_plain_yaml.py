"""Recipes without bounds, with keys that stand twice, or of another kind of YAML: one line, at once."""

import random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.overrides import parse_overrides
from terrasynth.synthesis.core.plain_yaml import MOST_BYTES, YamlError, parse_yaml, read_yaml
from terrasynth.synthesis.recipe import MOST_CLASSES, Recipe

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + chr(ord(name) - 1)] * 10)}]\n" for name in "bcdefghijkl")

REFUSED = {
    "laughs": (LAUGHS, "stands for more than 200000 values"),
    "itself": ("a: &a [*a]", "names nothing that ends before it"),
    "unknown": ("a: *b", "names nothing that ends before it"),
    "deep": ("[" * 100_000, "nested deeper than 32 levels"),
    "deep by lines": ("\n".join(" " * level + "a:" for level in range(1000)), "nested deeper than 32 levels"),
    "twice": ("name: a\nname: b", "the key 'name' stands twice"),
    "twice, inside": ("filters: [{kind: a, kind: b}]", "the key 'kind' stands twice"),
    "digits": ("a: " + "9" * 5000, "Exceeds the limit"),
    "python": ("a: !!python/object/apply:os.system [true]", "means nothing here"),
    "binary": ("a: !!binary aGk=", "means nothing here"),
    "set": ("a: !!set {b}", "means nothing here"),
    "number as key": ("1: a", "the key '1' is no text"),
    "on as key": ("on: a", "the key 'on' is no text"),
    "list as key": ("? [a]\n: b", "is no text"),
    "two documents": ("a: 1\n---\nb: 2", "expected a single document"),
    "nul": ("a: \0", "characters are not allowed"),
    "broken": ("a: [", "expected"),
    "many": ("a: [" + "1, " * 300_000 + "1]", "stands for more than 200000 values"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_recipe_is_one_line(tmp_path, terrasynth, name):
    text, message = REFUSED[name]
    with pytest.raises(YamlError, match=message):
        parse_yaml(text)
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    for command in (["plan", path], ["run", path, "--out", tmp_path / "run"]):
        code, out, lines = terrasynth(*command)
        assert (code, out, len(lines)) == (2, "", 1)
        assert message in lines[0]
    assert not (tmp_path / "run").exists()


def test_a_large_file_is_not_read(tmp_path):
    with (tmp_path / "recipe.yaml").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(YamlError, match="more than 4 MiB"):
        read_yaml(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(("text", "found"), [
    ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
    ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
    ("a: 2020-99-99", {"a": "2020-99-99"}), ("\ufeffa: 1", {"a": 1}), ("", None), ("a: no", {"a": False}),
])
def test_what_people_write_is_read(text, found):
    assert parse_yaml(text) == found


def test_what_others_write_may_have_numbers_as_keys_and_nothing_twice():
    assert parse_yaml("2: a\non: b", foreign=True) == {2: "a", True: "b"}
    for text in ("1: a\n1: b", "1: a\ntrue: b", "1: a\n01: b", "? [a]\n: b", LAUGHS):
        with pytest.raises(YamlError):
            parse_yaml(text, foreign=True)


def test_the_largest_recipe_of_all_is_written_and_read_back(tree, tmp_path):
    classes = [f"a class of some name {number}" for number in range(MOST_CLASSES)]
    kept = {"rows": 9_999_999, "attempts": 9_999_999}
    largest = Recipe.parse(tree | {
        "prompts": {"expander": "grammar", "classes": classes},
        "target": {"per_class": 1, "max_attempts": 1, "kept": dict.fromkeys(classes, kept)},
    })
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(largest.tree(), sort_keys=False))
    assert Recipe.load(tmp_path / "recipe.yaml") == largest


def test_what_an_anchor_names_is_a_copy():
    tree = parse_yaml("a: &x {b: 1}\nc: *x")
    tree["a"]["b"] = 2
    assert tree["c"] == {"b": 1}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(PLAIN)
def test_plain_data_comes_back(tree):
    text = yaml.safe_dump(tree, allow_unicode=True)
    assert parse_yaml(text) == yaml.safe_load(text)


BOUNDS = [
    ("seed", 2**63), ("name", "a" * 97), ("generator.steps", 10**12), ("generator.guidance", 1e308),
    ("generator.lora_scale", 1e30), ("generator.height", 10**9), ("generator.width", 10**9),
    ("generator.conditioning.gsd", 1e300), ("generator.model", "a" * 5000), ("generator.options.a", 1e400),
    ("generator.options.a", 10**400), ("generator.options.a", "a" * 5000),
    ("target.per_class", 10**10), ("target.max_attempts", 10**30), ("output.rows_per_shard", 10**12),
    ("runtime.block_size", 10**6), ("runtime.micro_batch", 10**9), ("runtime.device", "c" * 100),
    ("runtime.exact", "yes"), ("runtime.exact", 1),
]


@pytest.mark.parametrize(("key", "value"), BOUNDS, ids=lambda value: str(value)[:24])
def test_a_value_beyond_all_bounds_is_one_short_line(tree, key, value):
    node = tree
    *parents, last = key.split(".")
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    with pytest.raises(InputError) as refused:
        Recipe.parse(tree)
    assert key in str(refused.value)
    assert len(str(refused.value)) < 450


def test_a_thousand_mistakes_are_a_short_line(tree):
    with pytest.raises(InputError) as refused:
        Recipe.parse(tree | {f"key {number}": 1 for number in range(1000)})
    assert "and 995 more mistakes" in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_set_value_has_the_same_bounds():
    with pytest.raises(InputError, match="nested deeper than 32 levels"):
        parse_overrides(["a=" + "[" * 1000])


def test_mutated_recipes_are_read_or_refused(tree, tmp_path):
    """Bytes of a real recipe, changed at random: a recipe, or one line."""
    content, moments = yaml.safe_dump(tree).encode(), random.Random(0)
    marks = [b"&a ", b"*a", b"[", b"{", b"- ", b": ", b"!!", b"\n", b"\x00", b"\xff", b"9" * 5000, b"? ", b"<<: "]
    for number in range(400):
        changed = bytearray(content)
        for _ in range(moments.randrange(1, 6)):
            at = moments.randrange(len(changed))
            changed[at : at + moments.randrange(3)] = moments.choice(marks)
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(changed)
        said = ""
        try:
            Recipe.load(path)
        except InputError as error:
            said = str(error)
        assert "\n" not in said
        assert len(said) < 1500
