"""Where licences are read: the cards of models and data, and what the user stated for a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.hub_ids import is_hub_id, missing_here
from terrasynth.synthesis.cards.licences import Licence, Source, Statement, inherit
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RunError, one_line
from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.synthesis.generators.autoencoders import card_folder, local_autoencoder
from terrasynth.synthesis.generators.control import local_control
from terrasynth.synthesis.generators.lora import local_lora
from terrasynth.synthesis.ledger.directory import RunDirectory

if TYPE_CHECKING:
    from terrasynth.synthesis.recipe import Recipe

FILE = layout.LICENCE
OURS = "apache-2.0"  # of this package, so of the sentences that its grammar knows
MADE_BY_US = ("grammar",)
FROM_A_MODEL = ("lm",)
NOWHERE = Path("no such folder")
_COMMIT = re.compile("[0-9a-f]{40}")  # of the Hub; the hash of a folder is shorter
WHOEVER = "whoever made it"
"""Who states the licence of an export: no name of a user of this machine goes out with it."""
FIELDS = ("license", "license_name", "license_link")
"""What the header of a card says of a licence."""


def sources_of(recipe: Recipe, folder: Path | None = None, revision: str = "",
               later: bool = False) -> tuple[Source, ...]:
    """What the data set of a recipe is made with: generator, LoRA, autoencoder, control, and what prompts come from.

    The models of filters only choose among images, and are no source. The Hub is asked for no card of a model that is a
    folder here, or was one.

    Args:
        folder: Where the generator's files are; None to look for them, and to ask the Hub for the card of a Hub model.
        revision: Commit of a generator on the Hub, or hash of a folder, with whatever is added to it; "" for the one
            that the recipe names.
        later: The run was made before, perhaps in another folder: what the recipe names and is not here may have been
            a folder there, unless a commit says otherwise.
    """
    place, name, on_hub = _generator(recipe.generator.model, folder, revision.partition("+")[0], later)
    sources = [read_card(place, "generator", name, on_hub)]
    parts: tuple[tuple[str, str, Callable[[str], tuple[Path | None, str]]], ...] = (
        ("lora", "LoRA", local_lora), ("vae", "autoencoder", _autoencoder_card), ("control", "control", local_control))
    for setting, role, local in parts:
        if reference := getattr(recipe.generator, setting, None):
            exists = Path(reference).expanduser().exists()
            place, name = local(reference)
            on_hub = "" if place is not None or exists else _hub_id(reference, later)
            sources.append(read_card(place, role, name, on_hub))
    return (*sources, _prompts(recipe.prompts.expander, recipe.prompts.options, later))


def read_card(folder: Path | None, role: str, name: str, on_hub: str = "", kind: str = "model") -> Source:
    """A source by the YAML header of the card in its folder; the Hub is asked for the card of what is there.

    Args:
        folder: Where `README.md` may lie; None for nowhere.
        role: What it does for the data set.
        on_hub: Its id on the Hub with optional @revision; "" for what is not there, such as a folder of this machine.
        kind: "model" or "dataset", what the Hub calls it.
    """
    card = (folder or NOWHERE) / "README.md"
    if on_hub and not card.is_file():
        card = hub_card(on_hub, kind) or card
    header = _header(card)
    licence = header.get("license") or ""
    if isinstance(licence, list):  # several licences at once: which holds for what, the header does not say
        licence, header = "other", header | {"license_name": ", ".join(map(str, licence))}
    return Source(role, name, str(licence).lower(), str(header.get("license_name") or ""),
                  str(header.get("license_link") or ""), "its card" if licence else "nothing says")


def licence_fields(card: Path) -> dict[str, Any]:
    """What the header of a card says of its licence, to be said again in another card.

    Args:
        card: A `README.md`; one that is missing, or whose header cannot be read, says nothing.

    Returns:
        Those of `FIELDS` that it has.
    """
    header: dict[str, Any] = {}
    with suppress(InputError):
        header = _header(card)
    return {key: header[key] for key in FIELDS if header.get(key)}


def load_licence(
    root: Path, sources: Sequence[Source] | None = None,
    rule: Callable[[Sequence[Source], Statement | None], Licence] = inherit,
) -> Licence:
    """The licence of a run or an export: its sources, and what was stated for it before.

    A statement that leaves out what a source asks for by now counts no more.

    Args:
        sources: What it is made with, where that is known better than what the folder remembers.
        rule: What follows from sources and statement.

    Raises:
        RunError: `licence.json` cannot be read.
    """
    path = root / FILE
    if not path.is_file():
        return rule(sources if sources is not None else _sources_of_run(root), None)
    try:
        content = read_record(path)
        remembered = [Source(**each) for each in content["sources"]]
        stated = Statement(**content["stated"]) if content["stated"] else None
    except (RecordError, InputError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({one_line(error)}); remove it, run again and state the licence "
                       "again") from error
    sources = remembered if sources is None else sources
    with suppress(InputError):
        return rule(sources, stated)
    return rule(sources, None)


def save_licence(root: Path, licence: Licence) -> None:
    """Write `licence.json`: the sources, and what was stated and by whom."""
    stated = None
    if licence.stated_by:
        stated = asdict(Statement(licence.licence, licence.licence_name, licence.licence_link, licence.stated_by,
                                  licence.reason))
    sources = [{key: value for key, value in asdict(each).items() if value or key != "identity"}
               for each in licence.sources]
    write_record(root / FILE, {"sources": sources, "stated": stated})


def _sources_of_run(root: Path) -> tuple[Source, ...]:
    run = RunDirectory(root)
    generator = run.frozen.identity.parts.get("generator")
    revision = str(generator.get("revision", "")) if isinstance(generator, Mapping) else ""
    return sources_of(run.recipe, revision=revision, later=True)


def _generator(reference: str, folder: Path | None, revision: str, later: bool) -> tuple[Path | None, str, str]:
    """Folder of a generator, what it is called, and its id on the Hub with its commit; "" where it is not from there.

    Args:
        revision: Its commit or the hash of its folder; "" where neither is known.
    """
    from terrasynth.eval.models import references as models
    from terrasynth.synthesis.core.embedded import WEIGHTS

    found = None
    with suppress(ValueError):  # a plug-in's, or no longer on this machine: then nothing says what its licence is
        found = models.resolve(reference, [WEIGHTS])
    if found is not None and found.local:
        return folder or found.folder, _public(reference), ""
    was_folder = later and _COMMIT.fullmatch(revision) is None  # which a name of the form a/b does not tell
    if found is None or was_folder:
        return folder, _public(reference), ""
    return folder, _public(reference), f"{found.location}@{revision}" if revision else reference


def _autoencoder_card(reference: str) -> tuple[Path | None, str]:
    place, name = local_autoencoder(reference)
    return None if place is None else card_folder(place), name


def _hub_id(reference: str, later: bool) -> str:
    """A reference to what is not here, where it leads to the Hub; "" where it is a path, or may have been one."""
    identifier, revision, _ = reference.partition("@")
    may_be = is_hub_id(identifier) and missing_here(reference) is None
    return reference if may_be and (revision or not later) else ""


def _prompts(expander: str, options: Mapping[str, Any], later: bool) -> Source:
    if expander in MADE_BY_US and options.get("ontology"):  # whose words are the user's
        return Source("prompts", f"{expander} with {Path(str(options['ontology'])).name}")
    if expander in MADE_BY_US:
        return Source("prompts", expander, OURS, found="this package")
    if expander in FROM_A_MODEL:
        model = str(options.get("model", ""))
        folder = Path(model).expanduser()
        on_hub = "" if folder.exists() else _hub_id(model, later)
        return read_card(folder, "prompts", f"{expander} by {_public(model)}", on_hub)
    path = options.get("path")
    return Source("prompts", f"{expander} {Path(str(path)).name}" if path else expander)


def _public(reference: str) -> str:
    """What a model is called without the folders of this machine."""
    kind, colon, rest = reference.partition(":")
    if colon and Path(rest).expanduser().exists():  # what a plug-in was asked for
        return f"{kind}:{Path(rest).name}"
    return Path(reference).name if Path(reference).is_dir() else reference


def _header(card: Path) -> dict[str, Any]:
    if not card.is_file():
        return {}
    text = card.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---\n"):
        return {}
    try:
        header = parse_yaml(text[4:].partition("\n---")[0], foreign=True)
    except YamlError as error:
        raise InputError(f"the header of {str(card)!r} is not YAML: {one_line(error, 100)}; mend it") from error
    return header if isinstance(header, dict) else {}


def hub_card(reference: str, kind: str = "model") -> Path | None:
    """The card of a Hub id with optional @revision; None where it has none, or nobody answers."""
    from huggingface_hub import hf_hub_download

    identifier, _, revision = reference.partition("@")
    try:
        return Path(hf_hub_download(identifier, "README.md", repo_type=kind, revision=revision or None))
    except (OSError, ValueError):  # no card, or no network: its licence is then not known, and the user has to state it
        return None
