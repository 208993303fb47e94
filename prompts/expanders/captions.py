"""The `captions` expander: recombines real captions that the user gives, class by class, by a small grammar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

from terrasynth.hashing import text_hash
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.reading import existing, fail, label_of, records, text_of
from terrasynth.prompts.scenes.clauses import fits, frames, parse, sentence, slots
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.scenes.entailment import UNKNOWN, DrawnPrompt
from terrasynth.prompts.types import Prompt, check_request

CAPTIONS = 5
MOST_TURNED = 7  # clauses that are put into every order: of eight there are 40,320
REVISION = 1  # raise it when this code would give other prompts from the same captions: it is part of the identity


class CaptionsExpander:
    """Prompts that say of a class what its captions say, in other combinations.

    A caption is a frame ("there are"), a head ("two white airplanes") and clauses ("with some cars beside them"). An
    attempt takes the head of one caption and, in place of each of its clauses, one that others of the class join in
    the same way ("with", "and"), and swaps quantities, colors and sizes for those that the class's captions say of the
    same noun. Clauses keep to heads that their pronouns fit. Where a class has few captions, a recombination can equal
    one of them. Nothing is downloaded.

    Attributes:
        classes: The labels, sorted.
    """

    name = "captions"

    def __init__(self, path: str | Path, split: str = "train") -> None:
        """Read and check all captions.

        Args:
            path: A `.jsonl` whose rows have `label` (or `class`) and `captions` (or `caption`, `text`), other fields
                aside; a `.csv` with `label` and `text`; a `.txt` of `label<TAB>caption`; or a folder of `<label>.txt`.
            split: Rows that have a field `split` count only if it is this one; "all" takes every row.

        Raises:
            InputError: There is no such file, no caption in it, or a row is wrong: file name, line and reason.
        """
        texts: dict[str, list[str]] = {}
        for label, caption in _read(path, split):
            texts.setdefault(label, []).append(caption)
        if not texts:
            raise InputError(f"{str(path)!r} has no caption of split {split!r}; give captions, or set split: all")
        self.classes = tuple(sorted(texts))
        self._texts = texts
        self._banks = {label: _Bank(captions) for label, captions in texts.items()}

    def identity(self) -> dict[str, object]:
        """Expander, revision of the code, and hash of the captions in order."""
        rows = [[label, self._texts[label]] for label in self.classes]
        digest = text_hash(json.dumps(rows, ensure_ascii=False))
        return {"expander": self.name, "revision": REVISION, "captions": digest}

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; captions differ in frame and order of clauses, at most five."""
        check_request(self, label, start, count)
        bank = self._banks[label]
        return [bank.prompt(label, Draws(self.name, label, seed, k)) for k in range(start, start + count)]


class _Bank:
    """The heads, clauses and slot words of one class."""

    def __init__(self, captions: list[str]) -> None:
        self._captions = [parse(caption) for caption in captions]
        clauses = sorted({clause for parts in self._captions for clause in parts.clauses})
        self._clauses: dict[tuple[str, bool], list[str]] = {}
        for clause in clauses:
            for plural in (False, True):
                if fits(clause, plural):
                    self._clauses.setdefault((_joint(clause), plural), []).append(clause)
        words: dict[tuple[str, bool], set[str]] = {}
        for parts in self._captions:
            for text in (parts.head, *parts.clauses):
                for key, _, _, word in slots(text):
                    words.setdefault(key, set()).add(word)
        self._words = {key: sorted(found) for key, found in words.items()}

    def prompt(self, label: str, draws: Draws) -> Prompt:
        """A recombination, and other ways to say it."""
        parts = draws.pick(self._captions)
        head = self._swap(parts.head, draws)
        clauses: dict[str, None] = {}
        for own in parts.clauses:
            fitting = self._clauses.get((_joint(own), parts.plural), [own])
            clauses[self._swap(draws.pick(fitting), draws)] = None
        said = tuple(clauses)
        # "with a and b" keeps its order: turned round, b would belong to something else
        turnable = len({_joint(clause) for clause in said}) == 1 and len(said) <= MOST_TURNED
        orders = list(permutations(said)) if turnable else [said]
        ways = [sentence(frame, head, order) for order in orders for frame in frames(parts)]
        captions = list(dict.fromkeys(draws.shuffled(ways)))[:CAPTIONS]
        return DrawnPrompt(captions[0], label, captions, CaptionsExpander.name, UNKNOWN)

    def _swap(self, text: str, draws: Draws) -> str:
        for key, start, end, _ in reversed(slots(text)):
            text = text[:start] + draws.pick(self._words[key]) + text[end:]
        return text


def _joint(clause: str) -> str:
    return clause.partition(" ")[0]


def _read(path: str | Path, split: str) -> Iterator[tuple[str, str]]:
    """Label and caption of each row, in order."""
    if isinstance(path, str | Path) and Path(path).is_dir():
        sources: list[tuple[Path, str | None]] = [(file, file.stem) for file in sorted(Path(path).glob("*.txt"))]
        if not sources:
            raise InputError(f"folder {str(path)!r} has no .txt file; name them <label>.txt, one caption a line")
    else:
        sources = [(existing(path, CaptionsExpander.name), None)]
    for file, label in sources:
        for line, row in records(file, label):
            if split not in ("all", row.get("split", split)):
                continue
            yield from _captions(file, line, row, label)


def _captions(file: Path, line: int, row: dict[str, Any], default_label: str | None) -> Iterator[tuple[str, str]]:
    label = label_of(file, line, row.get("label", row.get("class", default_label)))
    captions = row.get("captions", row.get("caption", row.get("text")))
    for caption in captions if isinstance(captions, list) else [captions]:
        text = text_of(file, line, "caption", caption)
        if _says_nothing(text):
            fail(file, line, f"caption {text!r} says nothing; leave it out")
        yield label, text


def _says_nothing(text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return True
    return False
