"""Which block is begun next, so that workers are busy and little is drawn that nobody needs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.ledger.decisions import ClassDecisions

# A block is begun that may turn out not to be needed where that is as likely as not, or less: what is drawn in vain is
# then less than half of what is begun in this way, and that is only the end of each class.
LEAST_CHANCE = 0.5


class Schedule:
    """Classes in turn, so that a run that is stopped early is balanced.

    Blocks that are needed in any case come first. Where there are none, the one that is most probably needed, by the
    shares of attempts that were accepted so far.

    Attributes:
        begun: Blocks by class that are begun and not decided on.
    """

    def __init__(self, classes: Sequence[ClassDecisions], blocks: Blocks, ahead: bool) -> None:
        """Begin with the first class.

        Args:
            classes: The classes, in the order of the data set.
            ahead: Whether a block may be begun before it is known that it is needed.
        """
        self.begun: Counter[str] = Counter()
        self._classes, self._blocks, self._ahead = list(classes), blocks, ahead
        self._turn = 0

    def next(self) -> ClassDecisions | None:
        """The class whose next block is to be begun; None where that takes a decision on one that was begun."""
        for _ in range(len(self._classes)):
            candidate = self._classes[self._turn]
            needed = self.needed(candidate)
            if not needed and not self._ahead and self.begun[candidate.label]:
                return None
            self._turn = (self._turn + 1) % len(self._classes)
            if needed:
                return candidate
        return self._likely() if self._ahead else None

    def leave(self, decided: ClassDecisions) -> None:
        """Begin no further block of a class."""
        place = self._classes.index(decided)
        del self._classes[place]
        self._turn -= place < self._turn
        self._turn %= max(1, len(self._classes))

    def needed(self, decided: ClassDecisions) -> bool:
        """Whether the next block of a class is needed, whatever becomes of those that are begun."""
        begun = self.begun[decided.label]
        if begun * self._blocks.block_size < decided.missing[0]:
            return True
        # Blocks beyond the target exist after a filter or a target was loosened: their attempts get a row all the same.
        return self._blocks.exists(decided.label, decided.blocks + begun)

    def _likely(self) -> ClassDecisions | None:
        accepted = sum(each.chances[2] for each in self._classes)
        attempted = sum(each.count.attempted for each in self._classes)
        share = (1 + accepted) / (2 + attempted)
        chance, best = LEAST_CHANCE, None
        for each in self._classes:
            undecided = self.begun[each.label] * self._blocks.block_size
            if undecided >= each.missing[1]:
                continue
            missing, waiting, taken = each.chances
            found = chance_of_less(missing, undecided + waiting, taken + share,
                                   each.count.attempted - taken + 1 - share)
            if found >= chance:
                chance, best = found, each
        return best


def chance_of_less(rows: int, attempts: int, accepted: float, rejected: float) -> float:
    """How probable it is that attempts give fewer rows than are missing.

    A normal approximation of the beta-binomial distribution, which also knows how few attempts the share of accepted
    ones was taken from. Where hardly any was rejected it is off by up to 0.17.

    Args:
        rows: Rows that are missing.
        attempts: Attempts that nothing is known of.
        accepted: Earlier attempts that were accepted, with a prior: above 0.
        rejected: Earlier attempts that were rejected, with a prior: above 0.
    """
    if rows > attempts:
        return 1.0
    both = accepted + rejected
    mean = attempts * accepted / both
    variance = mean * rejected / both * (both + attempts) / (both + 1)
    if not variance:
        return float(mean < rows)
    return 0.5 * math.erfc((mean - rows + 0.5) / math.sqrt(2 * variance))
