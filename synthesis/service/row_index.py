"""An index of a run's attempts: what a page of rows needs, so that no page reads a run.

The run's files stay what counts. The index is made of them (blocks never change, decisions are replaced as a whole),
brought up to date where they changed, and made again where it is lost. It holds texts, verdicts and scores, no images.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RefusedError, RunError
from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.ledger.decisions import UNDECIDED
from terrasynth.synthesis.ledger.frozen import Frozen
from terrasynth.synthesis.service import row_tables
from terrasynth.synthesis.service.row_tables import CLASS_STEP, Names, Verdict

VERSION = "2"
FRESH_NS = 2 * 10**9  # a folder that changed so lately may change again without another time
COMMITTED = 64  # blocks whose texts are kept at once


@dataclass(frozen=True)
class BlockVerdicts:
    """What a run told of a block before its decisions are written.

    Attributes:
        index: The block's place in its class.
        reasons: One for each attempt; None for accepted.
    """

    label: str
    index: int
    reasons: Sequence[str | None]


@dataclass(frozen=True)
class _Stamps:
    """What tells this state of a run's files from any other.

    Attributes:
        made_of: Identity and sizes.
        decisions: Of the file of decisions; "" where there is none.
        folders: Each folder of blocks with the time of its last change in ns.
    """

    made_of: str
    decisions: str
    folders: tuple[tuple[str, int], ...]


class RowIndex:
    """The index of one run directory, in one file; for several threads."""

    def __init__(self, run: Path, file: Path) -> None:
        self.run, self.file = run, file
        self._lock = threading.Lock()
        self._seen: _Stamps | None = None

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection for questions, once it was refreshed."""
        return row_tables.reading(self.file)

    def refresh(self, frozen: Frozen, seconds: float, patience: float) -> bool | None:
        """Bring the index up to date: rows and verdicts always, texts for as long as there is time.

        Args:
            seconds: How long texts may be read.
            patience: How long to wait for another thread that does this.

        Returns:
            Whether the texts of all rows are in it; None where another thread is still at it.

        Raises:
            RunError: The decisions are damaged.
            RefusedError: A file may be whole and cannot be read.
        """
        until = time.monotonic() + seconds
        if not self._lock.acquire(timeout=patience):
            return None
        try:
            stamps = self._stamps(frozen)
            if stamps == self._seen and self.file.is_file():
                return True
            self._seen = None
            with row_tables.writing(self.file) as connection:
                self._note(connection, frozen)
                connection.commit()
                complete = self._read_texts(connection, frozen, until)
            settled = all(abs(time.time_ns() - changed) > FRESH_NS for _, changed in stamps.folders)
            self._seen = stamps if complete and settled else None
            return complete
        finally:
            self._lock.release()

    def tell(self, frozen: Frozen, told: Iterable[BlockVerdicts], mark: str) -> None:
        """Keep what a run told of its blocks, where nothing else is known of their rows yet.

        Args:
            told: Blocks with verdicts.
            mark: How far it told, for `marked`.
        """
        with self._lock, row_tables.writing(self.file) as connection:
            labels = dict(connection.execute("SELECT name, number FROM labels"))
            reasons = Names(connection, "reasons")
            undecided = reasons.number(UNDECIDED)
            for block in told:
                if block.label in labels:
                    start = labels[block.label] * CLASS_STEP + block.index * frozen.block_size
                    connection.executemany(
                        "UPDATE rows SET verdict = ?, reason = ? WHERE place = ? AND (verdict = 0 OR reason = ?)",
                        [(Verdict.of(reason), reasons.number(reason), start + row, undecided)
                         for row, reason in enumerate(block.reasons)])
            connection.execute("INSERT OR REPLACE INTO notes VALUES ('told', ?)", (mark,))
            connection.commit()

    def marked(self) -> str:
        """The mark of the last `tell`; "" before."""
        with self.reading() as connection:
            found = connection.execute("SELECT value FROM notes WHERE name = 'told'").fetchone()
        return str(found[0]) if found else ""

    def _stamps(self, frozen: Frozen) -> _Stamps:
        folders = ((folder.name, folder.stat().st_mtime_ns) for folder in layout.block_folders(self.run))
        made_of = f"{VERSION} {frozen.identity.hash} {frozen.block_size}"
        return _Stamps(made_of, self._decisions_stamp(), tuple(folders))

    def _decisions_stamp(self) -> str:
        try:
            stat = (self.run / layout.DECISIONS).stat()
        except FileNotFoundError:
            return ""
        return f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}"

    def _note(self, connection: sqlite3.Connection, frozen: Frozen) -> None:
        found = self._stamps(frozen)
        made_of, stamp = found.made_of, found.decisions  # before the blocks: decisions may be about all that are there
        notes = dict(connection.execute("SELECT name, value FROM notes"))
        if notes.get("made of") != made_of:
            row_tables.clear(connection)
            connection.execute("INSERT INTO notes VALUES ('made of', ?)", (made_of,))
            notes = {}
        new, gone = self._note_blocks(connection, frozen)
        if gone:  # and may come back, so that decisions that were noted are about them again
            connection.execute("INSERT OR REPLACE INTO notes VALUES ('gone', '')")
        if stamp and (stamp != notes.get("decisions") or (new and "gone" in notes)):
            row_tables.note_decisions(connection, self.run / layout.DECISIONS)
            connection.execute("INSERT OR REPLACE INTO notes VALUES ('decisions', ?)", (stamp,))
            if stamp != notes.get("decisions"):
                connection.execute("DELETE FROM notes WHERE name = 'gone'")

    def _note_blocks(self, connection: sqlite3.Connection, frozen: Frozen) -> tuple[int, int]:
        """Take in new blocks and leave out those that are gone; returns how many."""
        known = {name: (number, changed) for number, name, changed
                 in connection.execute("SELECT number, name, changed FROM labels")}
        folders = {folder.name: folder for folder in layout.block_folders(self.run)}
        found: list[tuple[int, int, int]] = []
        gone: list[tuple[int, int]] = []
        for name, folder in folders.items():
            stamp = folder.stat().st_mtime_ns
            if name not in known:
                known[name] = (max((number for number, _ in known.values()), default=-1) + 1, 0)
            number, changed = known[name]
            if changed == stamp:
                continue
            fresh = abs(time.time_ns() - stamp) < FRESH_NS
            connection.execute("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", (number, name, 0 if fresh else stamp))
            there = {int(path.stem): path for path in folder.glob("*.parquet") if path.stem.isdecimal()}
            had = {block for block, in connection.execute("SELECT number FROM blocks WHERE label = ?", (number,))}
            gone += [(number, block) for block in had - there.keys()]
            found += [(there[block].stat().st_mtime_ns, number, block) for block in there.keys() - had]
        for name in known.keys() - folders.keys():
            number = known[name][0]
            gone += connection.execute("SELECT label, number FROM blocks WHERE label = ?", (number,)).fetchall()
            connection.execute("UPDATE labels SET changed = 0 WHERE number = ?", (number,))
        for number, block in gone:
            connection.execute("DELETE FROM blocks WHERE label = ? AND number = ?", (number, block))
            row_tables.drop_rows(connection, number, block * frozen.block_size, frozen.block_size)
        names = {number: name for name, (number, _) in known.items()}
        _insert(connection, frozen, [(number, block, names[number]) for _, number, block in sorted(found)])
        return len(found), len(gone)

    def _read_texts(self, connection: sqlite3.Connection, frozen: Frozen, until: float) -> bool:
        blocks = Blocks(self.run, frozen.block_size, frozen.image_format, frozen.identity)
        names = dict(connection.execute("SELECT number, name FROM labels"))
        while left := connection.execute("SELECT label, number FROM blocks WHERE texts = 0 ORDER BY label, number "
                                         "LIMIT ?", (COMMITTED,)).fetchall():
            for number, index in left:
                if time.monotonic() > until:
                    connection.commit()
                    return False
                try:
                    texts = blocks.read(names[number], index, ["text"]).column("text").to_pylist()
                except RefusedError:
                    raise
                except RunError:
                    texts = []  # the rows of a damaged block are listed; whoever opens one is told
                start = number * CLASS_STEP + index * frozen.block_size
                connection.executemany("UPDATE rows SET text = ? WHERE place = ?",
                                       [(text, start + row) for row, text in enumerate(texts)])
                connection.execute("UPDATE blocks SET texts = 1 WHERE label = ? AND number = ?", (number, index))
            connection.commit()
        return True


def _insert(connection: sqlite3.Connection, frozen: Frozen, found: Sequence[tuple[int, int, str]]) -> None:
    """Rows of new blocks: number of the class, number of the block, the class; in the order of their arrival."""
    arrival = connection.execute("SELECT coalesce(max(arrival), -1) + 1 FROM rows").fetchone()[0]
    for number, block, label in found:
        connection.execute("INSERT INTO blocks (label, number) VALUES (?, ?)", (number, block))
        start = block * frozen.block_size
        connection.executemany("INSERT OR REPLACE INTO rows (place, id, arrival) VALUES (?, ?, ?)", [
            (number * CLASS_STEP + k, frozen.identity.attempt(label, k)[0], arrival + k - start)
            for k in range(start, start + frozen.block_size)])
        arrival += frozen.block_size
