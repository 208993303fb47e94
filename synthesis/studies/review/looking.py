"""One person at work on a run: which image is next, the verdict on it, and what is true of it in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydantic import ValidationError

from terrasynth.prompts.scenes.claims import Mention, claims, mentions, without
from terrasynth.prompts.settings import first_mistake
from terrasynth.synthesis.core.drawn_texts import what_holds
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.judged_rows import JudgedRows
from terrasynth.synthesis.review.entries import CaptionReview, Said, Subject, Undo, Verdict, now, one_spaced
from terrasynth.synthesis.review.file import AnyEntry, ReviewFile
from terrasynth.synthesis.review.sampling import in_random_order
from terrasynth.synthesis.review.standing import Standing, standing_entries

Kind = Literal["accepted", "rejected", "all"]
READ = ("text", "label", "captions", "scene")
Given = TypeVar("Given", Verdict, CaptionReview)


@dataclass(frozen=True)
class Queue:
    """Which images are shown, and in which order.

    Attributes:
        of: Those that every filter but the review lets pass, those that one rejects, or both.
        label: Of one class; None for all.
        sample: So many at random; None for all, class by class.
        seed: Of the random order.
    """

    of: Kind = "accepted"
    label: str | None = None
    sample: int | None = None
    seed: int = 0

    def places(self, rows: JudgedRows) -> list[int]:
        """Their places among the attempts of a run."""
        kinds = {"accepted": rows.passed, "rejected": ~rows.passed, "all": rows.shown}
        wanted = rows.shown & kinds[self.of]
        found = [place for place in np.flatnonzero(wanted).tolist() if self.label in (None, rows.labels[place])]
        if self.sample is None:
            return found
        order = in_random_order([rows.ids[place] for place in found], self.seed)
        return [found[place] for place in order[: self.sample]]


@dataclass(frozen=True)
class Image:
    """An image to look at.

    Attributes:
        row: Its id.
        label: Its class.
        k: Its place in its class.
        text: What it was drawn from.
        captions: What is said of it: by a person where one has, else what the drawn text implies.
        claims: The drawn text piece by piece.
        objects: The things that it speaks of.
        by_hand: What a person said of it in words; None so far.
        verdict: What this reviewer said of it; None so far.
        reason: Why it is not in the data set; None where it is, and in a blind review.
        scores: Of the filters; empty in a blind review.
    """

    row: str
    label: str
    k: int
    text: str
    captions: tuple[str, ...]
    claims: tuple[str, ...]
    objects: tuple[Mention, ...]
    by_hand: CaptionReview | None
    verdict: Verdict | None
    reason: str | None
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Shown:
    """The next images of a queue.

    Attributes:
        images: In order.
        done: Images of the queue that this reviewer gave a verdict on.
        left: Those still to come.
    """

    images: tuple[Image, ...]
    done: int
    left: int


class Review:
    """The review of a run. Nothing is kept in memory that is not on the disk.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, run
        >>> from terrasynth.synthesis.studies.review.looking import Queue, Review
        >>> small = ["prompts.classes=[forest]", "target.per_class=2", "generator.steps=1", "filters=[]"]
        >>> with TemporaryDirectory() as folder:
        ...     review = Review(run(Recipe.load("demo", small), folder).root)
        ...     first, second = review.next("ada", Queue(), count=2).images
        ...     made = review.judge(first.row, "reject", "ada", reason="no tree in sight")
        ...     review.next("ada", Queue()).images[0].row == second.row, review.undo("ada").reason
        (True, 'no tree in sight')
    """

    def __init__(self, root: Path) -> None:
        """Open a run.

        Args:
            root: The run directory.

        Raises:
            InputError: It is no run.
            RunError: The record of its identity is damaged.
        """
        self.root = root
        self.run = RunDirectory.open(root)
        self.file = ReviewFile(root, self.run.identity)

    @property
    def rows(self) -> JudgedRows:
        """The attempts of the run as it stands."""
        return JudgedRows.read(self.root)

    @property
    def standing(self) -> Standing:
        """What stands of the review."""
        return Standing.of(self.file.read())

    def next(self, reviewer: str, queue: Queue, count: int = 1, after: str = "", blind: bool = False) -> Shown:
        """The next images that a reviewer has given no verdict on.

        Args:
            reviewer: The name.
            queue: Which images.
            count: How many at most.
            after: Id of an image: those before it, and it, are passed over.
            blind: Show nothing of what the filters said.

        Raises:
            InputError: The run has decided on nothing yet, or has no such image or class.
            RunError: A file is damaged.
        """
        rows, standing, reviewer = self.rows, self.standing, one_spaced(reviewer)
        places = queue.places(rows)
        if queue.label is not None and queue.label not in set(rows.labels):
            raise InputError(f"class {queue.label!r} is none of the run's: {', '.join(dict.fromkeys(rows.labels))}")
        open_ = [place for place in places if reviewer not in standing.verdicts.get(rows.ids[place], {})]
        coming = open_
        if after and (last := self._place(rows, after)) in places:
            passed = set(places[: places.index(last) + 1])
            coming = [place for place in open_ if place not in passed]
        images = tuple(self._image(rows, standing, place, reviewer, blind) for place in coming[:count])
        return Shown(images, len(places) - len(open_), len(open_))

    def image(self, row: str, reviewer: str = "", blind: bool = False) -> Image:
        """One image.

        Raises:
            InputError: The run has no such image.
            RunError: A file is damaged.
        """
        rows = self.rows
        return self._image(rows, self.standing, self._place(rows, row), one_spaced(reviewer), blind)

    def judge(
        self, row: str, verdict: Literal["accept", "reject"], reviewer: str, reason: str = "", blind: bool = False
    ) -> Verdict:
        """Give a verdict; it is on the disk when this returns. Said again, it is no second one.

        Args:
            row: Id of the image.
            verdict: Whether it may stay.
            reviewer: Who says so.
            reason: Why it is rejected.
            blind: The reviewer did not see what the filters said.

        Raises:
            InputError: The run has no such image, or a text is too long or not plain.
            RunError: The disk is full, or the file is damaged.
        """
        subject = self._subject(row)
        given = _made(Verdict, subject=subject, verdict=verdict, reviewer=reviewer, blind=blind,
                         reason=reason if verdict == "reject" else "")
        return self._say(given, lambda standing: standing.verdicts.get(row, {}).get(given.reviewer))

    def describe(
        self, row: str, reviewer: str, captions: Sequence[str] = (), struck: Sequence[str] = (),
        present: Sequence[str] = (), absent: Sequence[str] = (),
    ) -> CaptionReview:
        """Say what is true of an image in words.

        Args:
            row: Id of the image.
            reviewer: Who says so.
            captions: What is said of it from now on; none to keep those that say nothing of what is struck.
            struck: What is said and is not true.
            present: Things that are there, in the singular.
            absent: Things that are not.

        Raises:
            InputError: The run has no such image, a text is too long or not plain, or no caption is left.
            RunError: The disk is full, or the file is damaged.
        """
        subject = self._subject(row)
        said = captions or without(self.image(row).captions, [*struck, *absent])
        if not said:
            raise InputError(f"every caption of {row} says what is not true; write one that is")
        given = _made(CaptionReview, subject=subject, reviewer=reviewer, captions=tuple(said), struck=tuple(struck),
                         present=tuple(present), absent=tuple(absent))
        return self._say(given, lambda standing: standing.captions.get(row))

    def undo(self, reviewer: str) -> Said | None:
        """Take back the last thing that a reviewer said and has not taken back; what was said before it stands again.

        Returns:
            What was taken back; None where there is nothing.

        Raises:
            RunError: The disk is full, or the file is damaged.
        """
        taken, reviewer = list[Said](), one_spaced(reviewer)

        def make(entries: Sequence[AnyEntry], number: int) -> Undo | None:
            own = [entry for entry in standing_entries(entries) if entry.reviewer == reviewer]
            taken.extend(own[-1:])
            return Undo(number=number, undoes=own[-1].number, reviewer=reviewer, time=now()) if own else None

        self.file.append(make)
        return taken[0] if taken else None

    def _say(self, given: Given, before: Callable[[Standing], Given | None]) -> Given:
        """Append an entry, unless the same stands already."""
        found: list[Given] = []

        def make(entries: Sequence[AnyEntry], number: int) -> Given | None:
            known = before(Standing.of(entries))
            numbered = given.model_copy(update={"number": number})
            if known is not None and numbered == known.model_copy(update={"number": number, "time": given.time}):
                found.append(known)
                return None
            found.append(numbered)
            return numbered

        self.file.append(make)
        return found[0]

    def _place(self, rows: JudgedRows, row: str) -> int:
        if row not in rows.places:
            raise InputError(f"the run has no image {row[:40]!r}; ids stand in `decisions.parquet`")
        return rows.places[row]

    def _subject(self, row: str) -> Subject:
        rows = self.rows
        place = self._place(rows, row)
        return Subject(row=row, label=rows.labels[place], k=rows.ks[place])

    def _image(self, rows: JudgedRows, standing: Standing, place: int, reviewer: str, blind: bool) -> Image:
        row, label, k = rows.ids[place], rows.labels[place], rows.ks[place]
        index, within = divmod(k, self.run.frozen.block_size)
        stored = self.run.blocks.read(label, index, READ).slice(within, 1).to_pylist()[0]
        held = what_holds(stored)
        by_hand = standing.captions.get(row)
        scores = {name: float(values[place]) for name, values in rows.scores.items() if not np.isnan(values[place])}
        return Image(
            row, label, k, held["text"], by_hand.captions if by_hand else tuple(held["captions"]),
            tuple(claims(held["text"], label, held["scene"])), tuple(mentions(held["scene"])), by_hand,
            standing.verdicts.get(row, {}).get(reviewer), None if blind else rows.reasons[place],
            {} if blind else scores,
        )


def _made(kind: type[Given], **said: object) -> Given:
    """An entry of what a person gave.

    Raises:
        InputError: A text is too long, empty, or not plain.
    """
    try:
        return kind.model_validate({"number": 1, "time": now(), **said})
    except ValidationError as error:
        raise InputError(first_mistake(error, kind)) from error
