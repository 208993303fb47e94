"""`runtime.json` of a run that is held for writing: how its blocks were drawn so far, and are from now on."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.machine import Machine, this_machine
from terrasynth.synthesis.generators.runtime import MACHINE, WAY, Runtime
from terrasynth.synthesis.ledger.block_files import drawn_by, drawn_of
from terrasynth.synthesis.ledger.blocks import Blocks

if TYPE_CHECKING:
    from terrasynth.synthesis.core.identity import Identity

log = logging.getLogger("terrasynth")


class RuntimeRecord:
    """The record of what draws; only the process that holds the run writes it.

    Attributes:
        so_far: What drew the blocks of the run, as recorded, or where that is lost as they have it. None where there
            are no blocks, so that it is chosen for this machine, and where nothing says it.
    """

    def __init__(self, blocks: Blocks, identity: Identity) -> None:
        """Read the record.

        Args:
            identity: Hash of what decides the images.

        Raises:
            RunError: What is recorded cannot be believed, or is not how a block was drawn.
        """
        self._blocks, self._root, self._identity = blocks, blocks.root, identity.hash
        self.so_far = self._read()

    @property
    def changed(self) -> bool:
        """Whether another process wrote it, or drew, since it was read."""
        return self._read() != self.so_far

    def restore(self) -> None:
        """Write again what is lost and was read from the blocks."""
        if self.so_far is not None and not (self._root / layout.RUNTIME).is_file():
            self.save(self.so_far)

    def save(self, runtime: Runtime) -> None:
        """Record what draws from now on."""
        runtime.save(self._root, self._identity)

    def begin(self, runtime: Runtime, refuses: bool) -> Runtime:
        """Record what draws, before the first image of this process; says where that is another way than before.

        Args:
            runtime: As it was resolved.
            refuses: Whether the recipe says that drawing is exact, so that no other way may follow.

        Returns:
            The runtime on this machine, with those that drew before.

        Raises:
            InputError: It is another way, and `refuses`.
        """
        here = this_machine(runtime.device)
        if not self._blocks.any() and not self._blocks.ahead().any():
            runtime = replace(runtime, **vars(here), others=())
            self.save(runtime)
            return runtime
        if self.so_far is None:
            changed = [f"{layout.RUNTIME} is lost, and the blocks do not say how they were drawn"]
        else:
            runtime, changed = runtime.going_on(self.so_far, here)
        if not changed:
            return runtime
        if refuses:
            raise InputError(
                f"runtime.exact is true, and this machine draws otherwise than what drew {str(self._root)!r} so far: "
                f"{'; '.join(changed)}; go on there, or with `--set runtime.exact=auto`, which records both"
            )
        log.warning("%s goes on in another way, or on another machine, than it was drawn so far (%s): an image may "
                    "differ by a gray level from what it would have been; runtime.json and each block say which drew "
                    "it", self._root, "; ".join(changed))
        self.save(runtime)
        return runtime

    def join(self, refuses: bool) -> None:
        """Record this machine beside those that draw now or drew before, before its first image.

        Args:
            refuses: Whether the recipe says that drawing is exact.

        Raises:
            InputError: It is another machine, and `refuses`.
        """
        recorded = Runtime.load(self._root, self._identity)
        if recorded is not None:
            self.admit(recorded, this_machine(recorded.device), refuses)

    def admit(self, runtime: Runtime, machine: Machine, refuses: bool) -> Runtime:
        """Record a machine that draws beside this one, before its first image; says where it is another.

        Args:
            runtime: What draws here, as `begin` gave it.
            refuses: Whether the recipe says that drawing is exact.

        Returns:
            The runtime with that machine among those that drew.

        Raises:
            InputError: It is another machine, and `refuses`.
        """
        differences = runtime.machine.differences(machine)
        other = replace(runtime, **vars(machine), others=())
        if not differences or runtime.drew(other.drawn):
            return runtime
        if refuses:
            raise InputError(f"runtime.exact is true, and a worker draws otherwise than this machine "
                             f"({'; '.join(differences)}); take workers on one kind of device, or "
                             "`--set runtime.exact=auto`, which records both")
        log.warning("%s: a worker is another machine (%s): an image may differ by a gray level; runtime.json and each "
                    "block say which drew it", self._root, "; ".join(differences))
        names = ("device", *WAY, *MACHINE)
        runtime = replace(runtime, others=(*runtime.others, {name: other.drawn[name] for name in names}))
        self.save(runtime)
        return runtime

    def _read(self) -> Runtime | None:
        first, ahead = self._blocks.first(), self._blocks.ahead()
        if first is None and not ahead.any():
            return None
        recorded, drawn = Runtime.load(self._root, self._identity), None if first is None else drawn_of(first)
        if recorded is None:
            return Runtime.of_blocks(chain(drawn_by(self._root), drawn_by(ahead.root)))
        if drawn is not None and not recorded.drew(drawn):
            raise RunError(f"{self._root / layout.RUNTIME} says that the run was drawn otherwise than {first} "
                           f"says of itself ({recorded.unlike(drawn)}); run again with --repair: it is written "
                           "again as the blocks have it")
        return recorded

