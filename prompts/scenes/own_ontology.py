"""Ontologies of users: a YAML file in which somebody says what images of their own classes can show."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from terrasynth.errors import nearest, one_line
from terrasynth.hashing import text_hash
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.reading import LABEL_RULE, is_label
from terrasynth.prompts.scenes.ontology import ClassSpec, Ontology, load_ontology
from terrasynth.prompts.settings import first_mistake

BASE = "open"
"""The profile whose words, conditions and sentences a user's ontology speaks."""

TAKEN = "classes_of_open"
LARGEST, MOST_VALUES = 4 * 2**20, 200_000
_NO_KEYS = ("vocabulary",)  # of a profile alone


@dataclass(frozen=True)
class OwnOntology:
    """A user's ontology.

    Attributes:
        ontology: The classes of the file, on the nouns and conditions of the profile `BASE`.
        hash: 16 hex digits over what it says; comments and line breaks of the file do not count.
    """

    ontology: Ontology
    hash: str


def read_ontology(path: str | Path) -> OwnOntology:
    """Read a user's ontology.

    The file has the keys of `Ontology`: `classes` by label, and `countable`, `plural_only` and `mass` for nouns that
    the profile `BASE` does not know. `conditions` replace those of that profile, kind by kind, `gsd` replaces its
    list, and `classes_of_open` says which labels are classes of that profile under another name, or the same.

    Args:
        path: A YAML file.

    Raises:
        InputError: It cannot be read, is no such file, or says something that cannot be drawn from; one line that
            names the place.
    """
    if not isinstance(path, str | Path) or not str(path):
        raise InputError(f"ontology {path!r} of the grammar expander is no file name; give one as text")
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"ontology {str(path)!r} of the grammar expander cannot be read ({error.strerror}); check its "
                         "path, or let `terrasynth init` write one") from error
    if len(data) > LARGEST:
        raise InputError(f"ontology {file.name!r} has {len(data):,} bytes; at most {LARGEST:,} are read")
    return _read(file.name, data)


@lru_cache(maxsize=16)
def _read(name: str, data: bytes) -> OwnOntology:
    try:
        tree = yaml.load(data.decode("utf-8"), Loader=_Loader)
        own = _plain(tree)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{name}: not YAML of an ontology ({one_line(error, 160)})") from None
    if not isinstance(own, dict):
        raise InputError(f"{name} holds no ontology; write `classes:` and below it a class (docs/own-classes.md)")
    taken = own.pop(TAKEN, {})
    if not isinstance(taken, dict) or not all(isinstance(each, str) for each in taken.values()):
        raise InputError(f"{name}: {TAKEN} {taken!r:.80} is wrong: a label and its class of the profile {BASE} are "
                         "needed, as in {Forest: forest}")
    if wrong := [key for key in _NO_KEYS if key in own]:
        raise InputError(f"{name}: {wrong[0]!r} belongs to the profiles of the package; leave it out")
    return OwnOntology(_with_base(name, own, taken), text_hash(json.dumps([own, taken], ensure_ascii=False)))


def _with_base(name: str, own: dict[str, Any], taken: dict[str, str]) -> Ontology:
    base = load_ontology(BASE)
    classes = own.get("classes", {})
    if not isinstance(classes, dict) or not (classes or taken):
        raise InputError(f"{name}: classes {classes!r:.80} is wrong: at least one class with its objects is needed")
    for label in (*classes, *taken):
        if not isinstance(label, str) or not is_label(label):
            raise InputError(f"{name}: label {label!r:.120} {LABEL_RULE}")
    if unknown := [known for known in taken.values() if known not in base.classes]:
        raise InputError(f"{name}: {TAKEN} names {unknown[0]!r}, which is no class of the profile "
                         f"{BASE}{nearest(unknown[0], base.classes)}")
    if twice := sorted(set(taken) & set(classes)):
        raise InputError(f"{name}: {twice[0]!r} stands under {TAKEN} and under classes; keep one")
    known = base.model_dump()
    gsd = own.get("gsd", base.gsd)
    merged = {
        **known, **own,
        "countable": {**known["countable"], **_of(own, "countable", {}, name)},
        "conditions": {**known["conditions"], **_of(own, "conditions", {}, name)},
        "plural_only": [*known["plural_only"], *_of(own, "plural_only", [], name)],
        "mass": [*known["mass"], *_of(own, "mass", [], name)],
        "contradictions": [*known["contradictions"], *_of(own, "contradictions", [], name)],
        "classes": {**{label: entry_alone(base.classes[of], gsd) for label, of in taken.items()}, **classes},
    }
    try:
        return Ontology.model_validate(merged)
    except ValidationError as error:
        raise InputError(f"{name}: {first_mistake(error, Ontology)}") from None


def entry_alone(spec: ClassSpec, gsd: object) -> dict[str, Any]:
    """A class of the profile `BASE` as an entry of a user's file, as plain data without what is the default.

    Mentions of other classes, which may not be served, and the labels of public data sets are left out: they are for
    the checks of prompts, which go by the profile itself.

    Args:
        gsd: Resolutions of the file in meters a pixel, a list; where none of them fits the class, it keeps no span.
    """
    found = spec.model_dump(exclude_defaults=True, exclude={"mentions", "aliases", "gsd"})
    least, most = spec.gsd or (0.0, 0.0)
    fits = isinstance(gsd, list) and any(isinstance(each, int | float) and least <= each <= most for each in gsd)
    return found | ({"gsd": spec.gsd} if fits else {})


def _of(own: dict[str, Any], key: str, empty: Any, name: str) -> Any:  # noqa: ANN401 - plain data of YAML
    found = own.get(key, empty)
    if not isinstance(found, type(empty)):
        raise InputError(f"{name}: {key} {found!r:.80} is wrong: a {type(empty).__name__} is needed")
    return found


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would drop one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"the key {twice[0]!r} stands twice, in line {node.start_mark.line + 1} or below")
        return super().construct_mapping(node, deep)


def _plain(tree: Any) -> Any:  # noqa: ANN401 - plain data of YAML
    """The tree, if what its anchors stand for is not large."""
    if sum(1 for _ in zip(_leaves(tree), range(MOST_VALUES + 1), strict=False)) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    return tree


def _leaves(node: object) -> Iterator[object]:
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _leaves(value)
    yield node
