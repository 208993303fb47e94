"""What the filters' models say about stored images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from terrasynth.errors import UserError
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.identity import Identity, digest
from terrasynth.synthesis.core.images import decode_all
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.filters import FilterSettings, Measurements, Measurer, Source
from terrasynth.synthesis.filters.base import NOTHING, THUMBNAIL, NamedJudge
from terrasynth.synthesis.filters.measurers import MEASURED, LayoutMeasurer, load_measurer
from terrasynth.synthesis.filters.pairs import PairJudge
from terrasynth.synthesis.ledger.stored import Content, StoredBlock
from terrasynth.synthesis.recipe import Recipe


class Encoders:
    """The encoders, classifiers and measures of a recipe's filters, each loaded once.

    Attributes:
        primary: Key of the first, whose measurements are stored inside the blocks; None without filters.
        keys: Of all, each once.
    """

    def __init__(self, recipe: Recipe, device: str, root: Path, identity: Identity) -> None:
        """Load what the filters measure with, and what they read in the run.

        Raises:
            InputError: A model does not exist, or a file of the run belongs to another.
            RunError: A file that a filter reads in the run is damaged.
        """
        sources = [each.source for each in recipe.filters]
        loaded: dict[Source, Measurer | LayoutMeasurer] = {}
        self._recipe = recipe
        self._keys: list[str] = []
        self._by_key: dict[str, Measurer | LayoutMeasurer] = {}
        self._kinds: dict[str, str] = {}
        self._pairs = identity.has_pairs
        self._read: list[Any] = [settings.read_run(root, identity) for settings in recipe.filters]
        for number, (source, settings) in enumerate(zip(sources, recipe.filters, strict=True)):
            if source.gives == NOTHING:
                self._keys.append(NOTHING)
                continue
            with _told_which(number, settings):
                own = None if source.gives in MEASURED else _own(settings, device)
                if own is None and source not in loaded:
                    silent = source.reference not in ("", THUMBNAIL)  # takes seconds to import
                    with quiet() if silent else nullcontext():
                        loaded[source] = load_measurer(source, device)
            measurer = loaded[source] if own is None else own
            key = digest(measurer.identity())
            self._keys.append(key)
            self._by_key[key] = measurer
            kind = self._kinds.setdefault(key, source.gives)
            if source.gives != kind:
                raise InputError(f"one model is said to give {source.gives!r} and {kind!r}; what measures two "
                                 "kinds has two identities")
        self.keys = tuple(self._by_key)
        self.primary = self.keys[0] if self.keys else None

    def check(self, labels: Sequence[str]) -> None:
        """Check that every filter can judge every class.

        Raises:
            InputError: A filter needs a calibration that its model lacks, or more first attempts than there will be.
        """
        most = self._recipe.target.max_attempts
        for number, (settings, key) in enumerate(zip(self._recipe.filters, self._keys, strict=True)):
            with _told_which(number, settings):
                settings.check(labels, self._model(key))
            if settings.needs > most:
                raise InputError(
                    f"calibrate_on {settings.needs} of the {settings.kind} filter is more than target.max_attempts "
                    f"{most}: its threshold would never be known; lower the one or raise the other"
                )

    def check_size(self, height: int, width: int) -> None:
        """Check that every filter can judge images of a size in pixels.

        Raises:
            InputError: One is calibrated for other sizes.
        """
        for number, settings in enumerate(self._recipe.filters):
            with _told_which(number, settings):
                settings.check_size(height, width)

    def judges(self, label: str, scratch: Path) -> list[NamedJudge]:
        """Fresh judges for one class, in the recipe's order; of a run of pairs they judge both images."""
        models = [self._model(key) if read is None else read for key, read in zip(self._keys, self._read, strict=True)]
        judges = [settings.judge(label, model, scratch)
                  for settings, model in zip(self._recipe.filters, models, strict=True)]
        if self._pairs:
            judges = [PairJudge(judge) for judge in judges]
        return [NamedJudge(*each) for each in zip(self._recipe.filter_names, self._keys, judges, strict=True)]

    def model_of(self, name: str) -> Any:  # noqa: ANN401 - an encoder, a classifier, or None
        """The model that a filter measures with, by the filter's name; None where it needs none."""
        return self._model(self._keys[self._recipe.filter_names.index(name)])

    def _model(self, key: str) -> Any:  # noqa: ANN401 - as `model_of`
        return self._by_key[key].model if key in self._by_key else None

    def measure(self, key: str, content: Content) -> Measurements:
        """Measure stored images; what was stored is what is judged, so that judging again gives the same.

        Raises:
            RunError: The measurer of a plug-in measures another kind than its filter's `source` gives.
        """
        measurer: Any = self._by_key[key]
        more = (content.layouts,) if getattr(measurer, "reads_layouts", False) else ()
        found: Measurements = measurer.measure(decode_all(content.images), content.texts, *more)
        found.of(self._kinds[key])
        if (found.alignment is not None) != self._reads_text(key):
            raise RunError(f"what measures {found.kind!r} says that it reads {'' if self._reads_text(key) else 'no '}"
                           "text and gives the opposite; an alignment belongs to a model with `reads_text`")
        return found if content.after is None else replace(found, after=self.measure(key, content.after))

    def of_block(self, block: StoredBlock, key: str) -> Measurements:
        """What a model says about a block: taken from where it is known, else measured and kept."""
        if key == NOTHING:
            return Measurements.none(block.blocks.block_size)
        known = self.known(block, key)
        if known is None:
            known = self.measure(key, block.content)
            block.keep(key, known)
        return known

    def known(self, block: StoredBlock, key: str) -> Measurements | None:
        """What a model said about a block, here or before; None where it has not seen it."""
        return block.measurements(key, self._kinds[key], self._reads_text(key))

    def _reads_text(self, key: str) -> bool:
        return bool(getattr(self._by_key[key].model, "reads_text", False))


@contextmanager
def _told_which(number: int, settings: FilterSettings) -> Iterator[None]:
    """Say of which filter of a recipe an error is, by the key that `--set` takes."""
    try:
        yield
    except UserError as error:
        raise InputError(f"filters.{number} ({settings.kind}): {error}") from error


def _own(settings: FilterSettings, device: str) -> Measurer | None:
    with quiet():
        return settings.own_measurer(device)
