"""A run as it goes to the Hub: what of it is published, and whether it is fit to go."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from terrasynth.prompts.addresses import has_secrets
from terrasynth.synthesis.cards.card import published, refreshed
from terrasynth.synthesis.cards.header import split_card
from terrasynth.synthesis.cards.left_here import left_here, ontology_option
from terrasynth.synthesis.cards.licence_sources import load_licence, save_licence
from terrasynth.synthesis.cards.licences import Licence, Statement, inherit
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import says_more
from terrasynth.synthesis.core.errors import InputError, RunError, one_line
from terrasynth.synthesis.core.files import TEMPORARY, write_file
from terrasynth.synthesis.core.plain_yaml import YamlError, read_yaml
from terrasynth.synthesis.core.records import RecordError
from terrasynth.synthesis.events import ClassCount
from terrasynth.synthesis.hub.files import CARD, LocalFile, check_shard
from terrasynth.synthesis.hub.read_back import read_back
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.finished import Finished, noted_hashes, without_images
from terrasynth.synthesis.ledger.judged_rows import JudgedRows, nobody_line, unseen_line
from terrasynth.synthesis.ledger.pending_review import PendingReview

# Nothing else of a run is published: not blocks/, scores/, locks, caches, what was being written, or evaluation/, whose
# page shows real images.
FILES = (layout.RECIPE, layout.ONTOLOGY, layout.IDENTITY, layout.RUNTIME, layout.PROMPT_DROPS, layout.DECISIONS,
         layout.EVALUATIONS[0])
FOLDERS = ("report",)
_OF_A_HOME = re.compile(r"~[\w.-]*/")


class RunFolder:
    """A run directory; see `terrasynth.synthesis.hub.folder.Folder`."""

    kind: ClassVar[str] = "run"
    rows_at: Sequence[str] = ("data/*.parquet",)
    compared: ClassVar[str] = "rows read back by streaming are those of the run"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._run = RunDirectory(root)
        self.identity = self._run.identity

    def check(self, card: str, ignore_review: bool) -> int:
        """See `Folder`."""
        shards = layout.shard_files(self.root)
        if not shards:
            raise InputError(f"{str(self.root)!r} has nothing to push: {without_images(self.root)}")
        if has_secrets(_recipe(self.root)):
            raise InputError(f"recipe.yaml of {str(self.root)!r} holds an address with credentials or a query, and a "
                             "push publishes it; run again, which writes it without")
        if any(map(says_more, shards)):
            raise InputError(f"{str(self.root)!r} has captions or scenes that say more than the texts that were drawn; "
                             "run again, which cuts them down and draws nothing")
        rows = sum(check_shard(self.root, shard) for shard in shards)
        self._check_noted()
        if not ignore_review:
            self._pending.check("publishes it as it is")
        told = _rows_told(card, self.root / CARD)
        if told is not None and told != rows:
            raise RunError(f"the card of {str(self.root)!r} tells of {told} rows and data/ holds {rows}; run again, "
                           "which brings them together")
        return rows

    def licence(self, stated: Statement | None) -> Licence:
        """See `Folder`."""
        licence = load_licence(self.root)
        return licence if stated is None else inherit(licence.sources, stated)

    def card(self, text: str, licence: Licence) -> str:
        """See `Folder`."""
        return refreshed(text, self.root, licence)

    def published_card(self, card: str, repository: str, branch: str) -> str:
        """See `Folder`."""
        return published(card, repository, branch)

    def files(self) -> list[LocalFile]:
        """See `Folder`; the files are those of the first call, so that each is hashed once."""
        return list(self._files)

    @cached_property
    def _files(self) -> tuple[LocalFile, ...]:
        places = [self.root / name for name in FILES]
        places += [path for folder in FOLDERS for path in (self.root / folder).rglob("*")]
        places += layout.shard_files(self.root)
        return tuple(
            LocalFile(path.relative_to(self.root).as_posix(), path) for path in places
            if path.is_file() and path.suffix != TEMPORARY and not path.name.startswith(".")
        )

    def save(self, licence: Licence, card: str) -> None:
        """See `Folder`."""
        save_licence(self.root, licence)
        write_file(self.root / CARD, card)

    def read_back(self, repository: str, commit: str, token: str | None) -> int:
        """See `Folder`."""
        return read_back(self.root, repository, commit, token)

    def notes(self, new: bool) -> list[str]:
        """See `Folder`."""
        recipe = _recipe(self.root)
        tree = recipe if isinstance(recipe, Mapping) else {}
        found = [f"recipe.yaml names a folder of this machine: {folder}" for folder in local_folders(self.root)]
        found += [f"not included, and needed to make it again: {each.text}"
                  for each in left_here(tree, self._run.frozen.identity.parts)]
        if ontology_option(tree) and not (self.root / layout.ONTOLOGY).is_file():
            found.append(f"the ontology of the recipe is not in the run, so others cannot run it; run it again, which "
                         f"puts it there as {layout.ONTOLOGY}")
        if (self.root / layout.DECISIONS).is_file():
            rows = JudgedRows.read(self.root)
            unseen = unseen_line(rows.unseen, rows.reasons.count(None), shlex.quote(str(self.root)))
            found += filter(None, [unseen or nobody_line(self.root, self.root), self._pending.line])
        found += filter(None, [self._short()])
        if new:
            found.append("nothing of blocks/ and scores/ is published: the run is needed to grow the data set")
        return found

    @cached_property
    def _pending(self) -> PendingReview:
        """What reviewers said that the run has not taken in."""
        return PendingReview.read(self.root, self._run.recipe)

    def _short(self) -> str:
        """What to know of classes that have fewer images than the run was asked for; "" where all have theirs."""
        short = [f"{each.label} {each.accepted} of {each.target}" for each in self._counts()
                 if each.accepted < each.target]
        return f"short of its target: {', '.join(short)}" if short else ""

    def _counts(self) -> Sequence[ClassCount]:
        """How its classes ended; none where the run does not say."""
        try:
            return Finished.read(self.root).counts
        except (FileNotFoundError, RecordError):  # `run` says what is wrong with it, and writes it anew
            return ()

    def _check_noted(self) -> None:
        noted, there = noted_hashes(self.root), {file.path: file for file in self.files()}
        for name, hashed in noted.items():
            if name not in there or there[name].sha256 != hashed:
                raise RunError(f"{self.root / name} is {'not what the run wrote' if name in there else 'missing'}; "
                               f"`terrasynth verify {shlex.quote(str(self.root))} --repair` writes it again from the "
                               "blocks")


def local_folders(root: Path) -> list[str]:
    """Folders of this machine that the recipe names: they are published with it."""
    texts = {part for text in _texts(_recipe(root)) for part in (text, text.partition(":")[2])}  # as of a plug-in
    return sorted(text for text in texts if Path(text).is_absolute() or _OF_A_HOME.match(text))


def _recipe(root: Path) -> object:
    try:
        return read_yaml(root / layout.RECIPE)
    except (OSError, YamlError) as error:
        raise InputError(f"{str(root)!r} is no run: recipe.yaml cannot be read ({one_line(error, 80)})") from error


def _texts(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)


def _rows_told(card: str, path: Path) -> int | None:
    header, _ = split_card(card, path, "run again, which writes it anew")
    try:
        return int(header["dataset_info"]["splits"][0]["num_examples"])
    except (KeyError, IndexError, TypeError):
        return None
