"""The attempts of a run as `decisions.parquet` has them: which the filters let pass, and which one did not."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.core.storage.object_path import ObjectPath
from terrasynth.synthesis.ledger.block_files import UNREADABLE, unreadable_file
from terrasynth.synthesis.ledger.decisions import NOT_JUDGED, UNREVIEWED, WITHHELD, nearest_score

REVIEW = "review"
FEWEST_FAR = 4  # scores of a filter, from which is said that more of them will hardly reach its threshold


@dataclass(frozen=True)
class JudgedRows:
    """All attempts of a run, class by class in the order in which they were drawn.

    Attributes:
        ids: Of the N attempts.
        ks: Their places in their classes.
        reasons: Why each is not in the data set, as `terrasynth.synthesis.ledger.decisions.Decision` says; None
            where it is.
        scores: By name of a filter that scored any, float32 (N,), NaN where it was not asked.
        reviewed: Whether the run's recipe has the filter `review`.
    """

    ids: Sequence[str]
    labels: Sequence[str]
    ks: Sequence[int]
    reasons: Sequence[str | None]
    scores: Mapping[str, NDArray[np.float32]]
    reviewed: bool

    @classmethod
    def read(cls, root: Path) -> JudgedRows:
        """Those of a run; a file that was read before and has not changed is not read again.

        Raises:
            InputError: The run has decided on nothing yet.
            RunError: The file is damaged.
            RefusedError: It may be whole and cannot be read.
        """
        path = root / layout.DECISIONS
        try:
            found = path.stat()
        except FileNotFoundError as error:
            raise InputError(f"{str(root)!r} has no {layout.DECISIONS}, so its run has decided on no image yet; run it "
                             "first") from error
        return _read(path, (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The place of each attempt here, by id."""
        return {row: place for place, row in enumerate(self.ids)}

    @cached_property
    def passed(self) -> NDArray[np.bool_]:
        """(N,): every filter but the review lets it pass."""
        return np.array([reason in (None, REVIEW, UNREVIEWED) for reason in self.reasons], np.bool_)

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """(N,): it was judged, and its image is there to be seen."""
        return np.array([reason not in (*NOT_JUDGED, WITHHELD) for reason in self.reasons], np.bool_)

    @property
    def unseen(self) -> int:
        """Images of the data set that nobody had looked at when the run decided; 0 where its recipe has no review."""
        if not self.reviewed:
            return 0
        accepted = np.array([reason is None for reason in self.reasons], np.bool_)
        return int((accepted & np.isnan(self.scores[REVIEW])).sum() if REVIEW in self.scores else accepted.sum())

    def rejected(self, labels: Collection[str]) -> dict[str, int]:
        """How many images of some classes each filter rejected, by the name of the filter."""
        return dict(Counter(reason for label, reason in zip(self.labels, self.reasons, strict=True)
                            if label in labels and reason not in (None, UNREVIEWED, *NOT_JUDGED)))

    def nearest(self, label: str, thresholds: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Of each filter that rejected images of a class, the score nearest to its threshold, and that threshold.

        Args:
            thresholds: The score that decides, by the name of the filter; NaN where it is not known.
        """
        of_class = np.array([each == label for each in self.labels], np.bool_)
        found = {}
        for name, limit in thresholds.items():
            if name == REVIEW:  # what people say is no score that comes near
                continue
            by = of_class & np.array([reason == name for reason in self.reasons], np.bool_)
            own = nearest_score(self.scores[name][by], limit) if name in self.scores else None
            if own is not None:
                found[name] = (own, float(limit))
        return found

    def far(self, label: str, thresholds: Mapping[str, float]) -> list[str]:
        """The filters of which nothing that they rejected of a class came near: more attempts will hardly help.

        The scores lie further from the threshold than the best of them from the worst.

        Args:
            thresholds: As of `nearest`.
        """
        of_class = np.array([each == label for each in self.labels], np.bool_)
        found = []
        for name, (best, limit) in self.nearest(label, thresholds).items():
            scores = self.scores[name][of_class & np.array([reason == name for reason in self.reasons], np.bool_)]
            known = scores[~np.isnan(scores)]
            if len(known) >= FEWEST_FAR and abs(limit - best) > float(known.max() - known.min()):
                found.append(name)
        return found

    def filter_says(self, name: str, names: Sequence[str]) -> NDArray[np.int64]:
        """What a filter said of each attempt: 1 to keep it, 0 not to, -1 where one before it had rejected it.

        Args:
            names: All filters of the run, in order.
        """
        later = {*names[names.index(name) + 1:], None, UNREVIEWED}
        return np.array([0 if reason == name else 1 if reason in later else -1 for reason in self.reasons], np.int64)


def unseen_line(unseen: int, accepted: int, run: str = "RUN") -> str:
    """That a run with the filter `review` holds images which nobody looked at, and what helps; "" where it holds none.

    Args:
        unseen: How many they are.
        accepted: Of how many.
        run: The run directory, as a shell takes it.

    Example:
        >>> from terrasynth.synthesis.ledger.judged_rows import unseen_line
        >>> unseen_line(1, 6)
        '1 of 6 accepted images was not looked at: `terrasynth review RUN`'
    """
    if not unseen:
        return ""
    return f"{unseen} of {accepted} accepted images {'was' if unseen == 1 else 'were'} not looked at: " \
           f"`terrasynth review {run}`"


def nobody_line(root: Path, called: Path) -> str:
    """That nobody has looked at the images of a run, and what shows them; "" where somebody has, or nothing shows them.

    Args:
        root: The run directory.
        called: How the reader calls it.
    """
    if isinstance(root, ObjectPath) or (root / layout.VERDICTS).is_file() or not (root / layout.DECISIONS).is_file():
        return ""
    return f"nobody has looked at these images: `terrasynth review {shlex.quote(str(called))}`"


@lru_cache(maxsize=2)
def _read(path: Path, stamp: tuple[int, ...]) -> JudgedRows:
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            table = file.read(columns=["id", "label", "k", "reason", "scores"], use_threads=False)
        scores = table.column("scores").combine_chunks()
        named = {field.name: scores.field(field.name).to_numpy(zero_copy_only=False).astype(np.float32)
                 for field in scores.type}
        plain = {name: table.column(name).to_pylist() for name in ("id", "k")}
        plain |= {name: _shared(table.column(name)) for name in ("label", "reason")}
    except (*UNREADABLE, KeyError, AttributeError, TypeError) as error:
        raise unreadable_file(path, error, "; `terrasynth verify --repair` writes it again") from error
    return JudgedRows(plain["id"], plain["label"], plain["k"], plain["reason"],
                      {name: values for name, values in named.items() if not np.isnan(values).all()}, REVIEW in named)


def _shared(column: pa.ChunkedArray) -> list[str | None]:
    """The texts of a column, of which equal ones are one object."""
    known: dict[str | None, str | None] = {}
    return [known.setdefault(text, text) for text in column.to_pylist()]
