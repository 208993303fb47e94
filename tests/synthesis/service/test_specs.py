"""What a client may ask a job to do, and what it is told where it may not."""

import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.specs import LONG, SHORT, SPECS, parse_spec

DRAW = {"kind": "draw", "prompts": ["a beach", "a forest"], "seeds": [1, 2]}


def test_every_kind_is_long_or_short():
    assert {*LONG, *SHORT} == set(SPECS)
    assert set(LONG).isdisjoint(SHORT)


@pytest.mark.parametrize("tree", [
    {"kind": "run", "data_set": "coast", "recipe": {"name": "coast"}},
    {"kind": "run", "data_set": "my coast", "recipe": {"name": "coast"}},
    {"kind": "evaluate", "data_set": "coast"},
    {"kind": "export", "data_set": "coast", "format": "coco", "out": "mine", "splits": {"train": 0.8, "test": 0.2}},
    {"kind": "push", "data_set": "coast", "repo": "me/coast"},
    {"kind": "plan", "recipe": {}},
    DRAW,
    {"kind": "expand", "classes": ["beach"], "count": 3},
])
def test_what_is_stored_is_read_back_as_it_was(tree):
    spec = parse_spec(tree)
    assert parse_spec(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(("tree", "message"), [
    ({"kind": "dig"}, r"kind 'dig' of a job is unknown; known: run, evaluate, export"),
    ({}, r"kind None of a job is unknown"),
    ({"kind": ["run"]}, r"kind \['run'\] of a job is unknown"),
    ({"kind": "run"}, r"data_set is missing; it has to be given"),
    ({"kind": "run", "data_set": "a", "shrnk": True}, r"unknown key 'shrnk' \(did you mean 'shrink'\?\)"),
    ({"kind": "run", "data_set": "../a"}, r"data_set '\.\./a' is wrong"),
    ({"kind": "run", "data_set": "a/b"}, r"data_set 'a/b' is wrong"),
    ({"kind": "run", "data_set": ".service"}, r"data_set '\.service' is wrong"),
    ({"kind": "run", "data_set": "-rf"}, r"data_set '-rf' is wrong"),
    ({"kind": "run", "data_set": "a\n"}, r"data_set 'a\\n' is wrong"),
    ({"kind": "run", "data_set": "a "}, r"data_set 'a ' is wrong"),
    ({"kind": "run", "data_set": " a"}, r"data_set ' a' is wrong"),
    ({"kind": "run", "data_set": "a /.. b"}, r"data_set 'a /\.\. b' is wrong"),
    ({"kind": "run", "data_set": "exports"}, r"'exports' is the folder of exports; call the data set otherwise"),
    ({"kind": "export", "data_set": "a", "format": "coco", "out": "/etc"}, r"out '/etc' is wrong"),
    ({"kind": "push", "data_set": "a", "repo": "me/a", "dry_run": False, "offline": True}, r"set dry_run to true"),
    ({**DRAW, "seeds": [1]}, r"1 seed for 2 prompts; give one for each"),
    ({**DRAW, "seeds": [1, -2]}, r"seeds\.1 -2 is wrong"),
    ({**DRAW, "steps": "20"}, r"steps '20' is wrong"),
    ({**DRAW, "guidance": float("nan")}, r"guidance nan is wrong"),
    ({**DRAW, "prompts": ["a"] * 17, "seeds": [0] * 17}, r"prompts .* at most 16"),
])
def test_mistakes_are_told_on_one_line(tree, message):
    with pytest.raises(InputError, match=message) as raised:
        parse_spec(tree)
    assert "\n" not in str(raised.value)
