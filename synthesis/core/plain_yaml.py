"""YAML as plain data, within stated limits, before anything is made of what a user or a disk may have put into a file.

Of YAML this reads mappings with text as keys, lists, text, numbers, true and false, and null. Anchors and merge keys
work as long as what they stand for is not large.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from terrasynth.errors import shortened
from terrasynth.synthesis.core.errors import RefusedError, one_line, refusal

MOST_BYTES, MOST_DEPTH, MOST_VALUES = 4 * 2**20, 32, 200_000
if TYPE_CHECKING:
    _Quick = yaml.SafeLoader
else:
    _Quick = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same by libyaml, where PyYAML was built with it
_PREFIX = "tag:yaml.org,2002:"
_KINDS = {"null", "bool", "int", "float", "str", "seq", "map", "merge"}


class YamlError(ValueError):
    """A text is no YAML of the kind that is read here; the message says what is wrong with it, and where.

    Attributes:
        line: Where, counted from 1; None where no line is to blame.
    """

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what if line is None else f"{what} (line {line})")
        self.what, self.line = what, line


class _Loader(_Quick):
    """Without dates, which would be no text, and with nothing that a tag could ask for."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_PREFIX}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - what the file holds
    """The content of a small YAML file in UTF-8.

    Raises:
        FileNotFoundError: It is not there.
        YamlError: It holds something else, or more than 4 MiB, 32 levels or 200,000 values.
        RefusedError: It may be whole and cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        if why := refusal(error):
            raise RefusedError(f"{str(path)!r} cannot be read: {why}") from error
        raise YamlError(one_line(error)) from error
    if len(data) > MOST_BYTES:
        raise YamlError(f"it has more than {MOST_BYTES // 2**20} MiB")
    try:
        return parse_yaml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise YamlError(f"it is no UTF-8 ({one_line(error, 80)})") from error


def parse_yaml(text: str, foreign: bool = False) -> Any:  # noqa: ANN401 - what the text holds
    """The plain data in a YAML text.

    Args:
        foreign: Somebody else wrote it, for whom a key may be a number as well.

    Raises:
        YamlError: See `read_yaml`.
    """
    try:
        _check_size(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_nodes(node, loader if foreign else None)
            return _unshared(loader.construct_document(node))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        said = shortened(" ".join(", ".join(filter(None, (error.context, error.problem))).split()), 200)
        raise YamlError(said, error.problem_mark.line + 1 if error.problem_mark else None) from error
    except yaml.YAMLError as error:
        raise YamlError(one_line(error, 200)) from error
    except YamlError:
        raise
    except (ValueError, RecursionError, OverflowError) as error:  # a number of 5,000 digits, for one
        raise YamlError(one_line(error, 200)) from error


def _check_size(text: str) -> None:
    """Count what a text stands for, its anchors followed, without building it."""
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, _Quick):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                _fail(event.start_mark, f"*{event.anchor} names nothing that ends before it")
            size, anchor = sizes[event.anchor], None
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            open_.append((event.anchor, 1))
            if len(open_) > MOST_DEPTH + 1:
                _fail(event.start_mark, f"it is nested deeper than {MOST_DEPTH} levels")
            continue
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            anchor, size = open_.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        outer, sum_ = open_[-1]
        open_[-1] = outer, sum_ + size
        if sum_ + size > MOST_VALUES:
            _fail(event.start_mark, f"it stands for more than {MOST_VALUES} values")


def _check_nodes(root: yaml.Node, foreign: _Loader | None) -> None:
    """Look at every node once: its kind, and the keys of mappings."""
    seen, left = set[int](), [root]
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        kind = node.tag.removeprefix(_PREFIX)
        if kind not in _KINDS or not node.tag.startswith(_PREFIX):
            _fail(node.start_mark, f"the tag {node.tag!r} means nothing here")
        if isinstance(node, yaml.MappingNode):
            left += [part for pair in node.value for part in pair]
            _check_keys([key for key, _ in node.value], foreign)
        elif isinstance(node, yaml.SequenceNode):
            left += node.value


def _check_keys(keys: list[yaml.Node], foreign: _Loader | None) -> None:
    seen = set[Hashable]()
    for key in keys:
        if key.tag == f"{_PREFIX}merge":
            continue
        if key.tag != f"{_PREFIX}str" and not (foreign and isinstance(key, yaml.ScalarNode)):
            shown = key.value if isinstance(key, yaml.ScalarNode) else "of several values"
            _fail(key.start_mark, f"the key {shown!r} is no text; write it in quotes")
        value = foreign.construct_object(key) if foreign else key.value  # 1, 01 and true are one key to Python
        if value in seen:
            _fail(key.start_mark, f"the key {key.value!r} stands twice in one mapping; remove one of the two")
        seen.add(value)


def _fail(mark: Any, what: str) -> NoReturn:  # noqa: ANN401 - of either of the two implementations
    raise YamlError(what, mark.line + 1)


def _unshared(tree: Any) -> Any:  # noqa: ANN401
    """A copy in which no two places are one object, as anchors would have it: what is set in one changes no other."""
    if isinstance(tree, dict):
        return {key: _unshared(value) for key, value in tree.items()}
    return [_unshared(value) for value in tree] if isinstance(tree, list) else tree
