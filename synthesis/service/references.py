"""What a request may name: embedded models, models on the Hub, and what lies inside two folders; never a path.

A job keeps the names as they were sent. Whoever carries it out puts the folders of this machine in their place
(`placed`), as late as possible.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrasynth.errors import nearest
from terrasynth.eval.models.references import EMBEDDED_ROOT, embedded_models
from terrasynth.prompts.language_models.chat import DEFAULT_KEY
from terrasynth.synthesis.core.embedded import WEIGHTS
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters import BUILT_IN, FILTERS, THUMBNAIL
from terrasynth.synthesis.generators.finding import PLUGINS
from terrasynth.synthesis.recipe import Recipe

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+ -]*")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w(@[\w./-]+)?")
_PLUGIN = re.compile(r"([\w-]+)(:[\w@.-]*)?")
_LIKE_A_PATH = re.compile(r"[/~\\]|\.\.?([/\\]|$)|[A-Za-z]:[/\\]|file:")
MOST_DEPTH, MOST_VALUES, LONGEST = 32, 200_000, 512
# Options of our expanders by what they name; those under SERVERS would read or write, or pay, where a client says.
MODELS, DATA, SERVERS = "model", "data", "the server"
_EXPANDERS: Mapping[str, Mapping[str, str]] = {
    "grammar": {"ontology": DATA},
    "captions": {"path": DATA},
    "file": {"path": DATA},
    "layout": {"masks": DATA},
    "lm": {"model": MODELS, "cache": SERVERS},
    "openai": {"cache": SERVERS},
}


@dataclass(frozen=True)
class Places:
    """What a server lets requests name.

    Attributes:
        models: Folder of models; None for none.
        data: Folder of data; None for none.
        endpoints: Addresses of language models, up to `/v1`.
    """

    models: Path | None = None
    data: Path | None = None
    endpoints: tuple[str, ...] = ()

    def model(self, reference: str) -> str:
        """A model reference for this machine.

        Raises:
            InputError: It is none that a request may name.
        """
        embedded = embedded_models([WEIGHTS, EMBEDDED_ROOT])
        if reference in embedded or reference.partition("/")[0] in embedded or reference == THUMBNAIL:
            if ".." in reference or not all(map(_PART.fullmatch, reference.split("/"))):
                raise InputError(f"model {reference[:80]!r} is no part of an embedded model; name it without '..'")
            return reference
        found = inside(self.models, reference)
        if found is not None:
            return str(found)
        if (_HUB_ID.fullmatch(reference) and ".." not in reference) or _is_plugin(reference):
            return reference
        known = [*embedded, *model_names(self.models)]
        raise InputError(f"model {reference[:80]!r} is neither embedded nor inside the server's --models, and no id on "
                         f"the Hub{nearest(reference[:80], known)}; a request names no path; known: {', '.join(known)}")

    def file(self, reference: str) -> str:
        """Data of this machine.

        Raises:
            InputError: It is none that a request may name.
        """
        found = inside(self.data, reference)
        if found is None:
            where = "has no such data" if self.data is not None else "was started without --data"
            raise InputError(f"data {reference[:80]!r}: the server {where}; name what lies inside its --data, never a "
                             "path")
        return str(found)

    def file_or_model(self, reference: str) -> str:
        """What lies inside either of the two folders, or a model."""
        found = inside(self.data, reference) or inside(self.models, reference)
        return str(found) if found is not None else self.model(reference)


def inside(folder: Path | None, reference: str) -> Path | None:
    """What a reference names inside a folder; None where there is nothing, or where it leads out."""
    parts = reference.split("/")
    if folder is None or len(reference) > LONGEST or not all(map(_PART.fullmatch, parts)):
        return None
    root = folder.resolve()
    found = root.joinpath(*parts)
    try:
        there = found.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return found if there.is_relative_to(root) and there != root else None


def model_names(folder: Path | None) -> list[str]:
    """What lies directly inside the folder of models and can be named, sorted."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if inside(folder, entry.name) is not None)


def check_recipe(tree: Mapping[str, Any], places: Places) -> Recipe:
    """The recipe of a request, checked as one of a file is, and for what it names.

    Raises:
        InputError: A mistake, or something that a request may not name.
    """
    check_plain(tree)
    recipe = Recipe.parse(tree)
    placed(tree, places)
    return recipe


def placed(tree: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """A recipe with the folders of this machine in the place of what lies inside them.

    Args:
        tree: A recipe that `Recipe.parse` takes.

    Raises:
        InputError: It names something that a request may not name.
    """
    found = {**tree}
    generator = dict(tree["generator"])
    for name in ("model", "lora", "vae", "control"):
        if generator.get(name) is not None:
            generator[name] = places.model(generator[name])
    found["generator"] = generator
    if "prompts" in tree:
        found["prompts"] = _prompts(tree["prompts"], places)
    if "filters" in tree:
        found["filters"] = [_filter(each, places) for each in tree["filters"]]
    return found


def named(tree: dict[str, Any], places: Places) -> dict[str, Any]:
    """A recipe of this machine as a request may send it: what lies inside the two folders is called by its name there.

    Args:
        tree: Plain data; what lies elsewhere stays as it is.
    """
    roots = [root.resolve() for root in (places.models, places.data) if root is not None]

    def renamed(value: Any) -> Any:  # noqa: ANN401 - plain data
        if isinstance(value, dict):
            return {key: renamed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [renamed(each) for each in value]
        for root in roots if isinstance(value, str) and value.startswith("/") else ():
            if Path(value).is_relative_to(root):
                return Path(value).relative_to(root).as_posix()
        return value

    return {key: renamed(value) for key, value in tree.items()}


def expander_options(expander: str, options: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """Options of an expander, as `placed` has them.

    Raises:
        InputError: They name something that a request may not name.
    """
    kinds = _EXPANDERS.get(expander)
    found = dict(options)
    for name, value in options.items():
        kind = None if kinds is None else kinds.get(name)
        if value is None:
            continue
        if kind == SERVERS:
            raise InputError(f"option {name} of the {expander} expander is the server's to set; leave it out")
        if kind is not None and isinstance(value, str):
            found[name] = places.model(value) if kind == MODELS else places.file(value)
        elif kind is not None:
            raise InputError(f"option {name} of the {expander} expander is no text; name it as in {name}: NAME")
        elif kinds is None:
            refuse_paths(value, f"option {name} of the {expander} expander")
    if expander == "openai":
        _check_endpoint(options, places)
    return found


def check_plain(tree: object) -> None:
    """Check that data of a request can be stored and written as JSON and YAML.

    Raises:
        InputError: It has numbers that are none, characters that no file takes, or too many values.
    """
    for values, (depth, value) in enumerate(_walk(tree, 0), 1):
        if values > MOST_VALUES or depth > MOST_DEPTH:
            raise InputError(f"the body has more than {MOST_VALUES:,} values or {MOST_DEPTH} levels; send less")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{value} is no number of JSON; give a finite one")
        if isinstance(value, str) and ("\0" in value or any("\ud800" <= each <= "\udfff" for each in value)):
            raise InputError(f"the text {value[:40]!r} has a character that no file takes; remove it")
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise InputError(f"a number of {len(hex(value)) * 4 // 13} digits is larger than any that is used here; "
                             "give a smaller one")


def _is_plugin(reference: str) -> bool:
    found = _PLUGIN.fullmatch(reference)
    return found is not None and found[1] in PLUGINS.names()


def _walk(value: object, depth: int) -> Iterator[tuple[int, object]]:
    left = [(depth, value)]
    while left:
        depth, value = left.pop()
        yield depth, value
        if isinstance(value, Mapping):
            left += [(depth + 1, each) for pair in value.items() for each in pair]
        elif isinstance(value, list | tuple):
            left += [(depth + 1, each) for each in value]


def _prompts(prompts: Mapping[str, Any], places: Places) -> dict[str, Any]:
    own = ("expander", "classes", "checks")
    options = {name: value for name, value in prompts.items() if name not in own}
    found = {**prompts, **expander_options(prompts.get("expander", "grammar"), options, places)}
    checks = prompts.get("checks")
    if isinstance(checks, Mapping) and checks.get("reference") is not None:
        found["checks"] = {**checks, "reference": places.file(checks["reference"])}
    return found


def _filter(tree: Mapping[str, Any], places: Places) -> dict[str, Any]:
    kind = str(tree.get("kind"))
    named = FILTERS[kind].places
    found = dict(tree)
    for name, value in tree.items():
        if name in named and isinstance(value, str):
            read: Callable[[str], str] = places.file_or_model if name == "reference" else places.model
            found[name] = read(value)
        elif kind not in BUILT_IN:
            refuse_paths(value, f"{name} of the {kind} filter")
    return found


def refuse_paths(value: object, what: str) -> None:
    """Whatever a plug-in, or a library, would do with a path: a request gives it none.

    Args:
        what: What it is called.

    Raises:
        InputError: A text in it looks like a path.
    """
    for _, each in _walk(value, 0):
        if isinstance(each, str) and _LIKE_A_PATH.match(each):
            raise InputError(f"{what} is {each[:60]!r}, which looks like a path; a request names none")


def _check_endpoint(options: Mapping[str, Any], places: Places) -> None:
    """Keys of the server go nowhere but where its owner said."""
    address, key = options.get("base_url"), options.get("api_key_env")
    if address is not None and str(address).rstrip("/") not in {each.rstrip("/") for each in places.endpoints}:
        known = ", ".join(places.endpoints) or "none"
        raise InputError(f"base_url {str(address)[:80]!r} is no endpoint of the server's; --endpoint adds one; there "
                         f"is {known}")
    if key not in (None, DEFAULT_KEY):
        raise InputError("api_key_env of the openai expander is the server's to set; leave it out")
