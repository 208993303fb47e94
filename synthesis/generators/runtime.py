"""Where and in which precision a run draws: resolved once, recorded, and used again when the run is resumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terrasynth.errors import shortened
from terrasynth.prompts.settings import first_mistake
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.identity import canonical
from terrasynth.synthesis.core.machine import Machine, this_machine
from terrasynth.synthesis.core.records import RecordError, read_record, run_error, write_record
from terrasynth.synthesis.generators.devices import (
    best_device,
    check_attention,
    check_device,
    check_offload,
    choose_dtype,
    first_micro_batch,
)
from terrasynth.synthesis.recipe import MOST_AT_ONCE, RuntimeSettings

# Which way numbers are computed where several round differently. 1: texts in the batch of their images. 2: each text
# alone, once; on a CPU, the decoder's channels last. 3: a side that the recipe leaves out is the model's own, where
# before pipelines of diffusers ignored the other one, too. A run keeps the way that it began with.
ARITHMETIC = 3
DTYPES = ("float32", "bfloat16", "float16")
MOST_THREADS = 4096
WAY = ("dtype", "attention", "compile", "arithmetic", "exact")
MACHINE = ("processor", "instructions", "torch")
PORTIONS = ("micro_batch", "threads", "vae_slicing")
_ABSENT = "put it back, or remove it: what the blocks say of how they were drawn is then taken"


@dataclass(frozen=True)
class Runtime:
    """The resolved runtime of a run.

    Attributes:
        dtype: "float32", "bfloat16" or "float16"; on a CPU, "bfloat16" is autocast over float32 weights.
        micro_batch: Images drawn at once, in one call of the pipeline or, where drawing is exact, side by side.
        threads: Threads that one call computes with.
        torch: Version of torch that drew last.
        measured: Seconds by dtype, in a record of a version that chose the dtype by the clock; else empty.
        attention: "sdpa" or "xformers".
        offload: "model" where only the part of the pipeline that computes is on the GPU, else "none".
        vae_slicing: Whether latents are decoded one by one, because memory ran out.
        arithmetic: Which way numbers are computed, see `ARITHMETIC`; a record that does not say is of the first.
        exact: Whether each image is drawn in a call of its own, on one thread, so that no portion matters.
        processor: Name of the processor that drew last; "" in a record of a version that did not say.
        instructions: The instruction sets that it used; "" as above.
        others: Other ways and machines that drew blocks of the run before, as `drawn` has them.
    """

    device: str
    dtype: str
    micro_batch: int
    threads: int
    torch: str
    measured: Mapping[str, float] = field(default_factory=dict)
    attention: str = "sdpa"
    compile: bool = False
    offload: str = "none"
    vae_slicing: bool = False
    arithmetic: int = 1
    exact: bool = False
    processor: str = ""
    instructions: str = ""
    others: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def resolve(cls, settings: RuntimeSettings, recorded: Runtime | None = None, draws_tokens: bool = False,
                latent_side: int | None = None) -> Runtime:
        """Turn "auto" into what this machine does well, or into what the run recorded when it began.

        Args:
            settings: The recipe's; explicit values win over recorded ones.
            recorded: The runtime of the run that is resumed.
            draws_tokens: Whether the generator draws images token by token.
            latent_side: Side of the generator's latent images, where it is known.

        Raises:
            InputError: The device does not exist here, or cannot do what is asked for.
        """
        import torch

        device = settings.device
        if device == "auto":
            device = recorded.device if recorded else best_device()
        check_device(device)
        dtype: str = settings.dtype
        if dtype == "auto":
            dtype = recorded.dtype if recorded else choose_dtype(device)
        attention: str = settings.attention
        if attention == "auto":
            attention = recorded.attention if recorded else "sdpa"
        check_attention(attention, device)
        check_offload(settings.offload, device)
        exact = settings.exact
        if exact == "auto":
            # A token of one image costs as much as one of many; an image of a diffusion model does not.
            exact = recorded.exact if recorded else device.startswith("cpu") and not draws_tokens
        portions = first_micro_batch(device, draws_tokens, latent_side)
        if exact:  # portions decide nothing, so what this machine has is taken, whatever another one had
            portions, threads = (min(portions, torch.get_num_threads()) if device.startswith("cpu") else 1), 1
        else:
            portions = recorded.micro_batch if recorded else portions
            threads = recorded.threads if recorded else torch.get_num_threads()
        micro_batch = portions if settings.micro_batch == "auto" else settings.micro_batch
        machine = recorded.machine if recorded else this_machine(device)
        return cls(
            device, dtype, micro_batch, threads, machine.torch, dict(recorded.measured) if recorded else {}, attention,
            settings.compile, settings.offload, recorded.vae_slicing if recorded else False,
            recorded.arithmetic if recorded else ARITHMETIC, exact, machine.processor, machine.instructions,
            recorded.others if recorded else (),
        )

    @classmethod
    def load(cls, run: Path, identity: str | None = None) -> Runtime | None:
        """The recorded runtime of a run, or None when it has none yet.

        Args:
            identity: Of the run; None where it is not known.

        Raises:
            RunError: The record cannot be believed.
        """
        try:
            return cls.read(run, identity)
        except FileNotFoundError:
            return None
        except RecordError as error:
            raise run_error(run / layout.RUNTIME, error, _ABSENT) from error

    @classmethod
    def read(cls, run: Path, identity: str | None = None) -> Runtime:
        """The recorded runtime of a run; see `load`.

        Raises:
            FileNotFoundError: It has none.
            RecordError: The record cannot be believed.
        """
        content = read_record(run / layout.RUNTIME)
        written_for = content.pop("identity", None)
        if None not in (identity, written_for) and identity != written_for:
            raise RecordError(f"it is of a run with identity {written_for}, and this one has {identity}")
        return cls.parse(content)

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """A runtime from plain data.

        Raises:
            RecordError: A value that no runtime has, or one is missing.
        """
        try:
            values = _Record.model_validate(content).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise RecordError(shortened(first_mistake(error, _Record), 200)) from error
        return cls(**{**values, "others": tuple(values.get("others", ()))})

    @classmethod
    def of_block(cls, drawn: Mapping[str, Any]) -> Self | None:
        """A runtime from what a block says of itself; None where it says something else than this version reads."""
        try:
            return cls.parse({"micro_batch": 1, "threads": 1} | dict(drawn))
        except RecordError:
            return None

    @classmethod
    def of_blocks(cls, drawn: Iterable[Mapping[str, Any]]) -> Self | None:
        """A runtime from what all blocks of a run say; None where none says it."""
        ways: dict[str, Mapping[str, Any]] = {}
        for each in drawn:
            ways.setdefault(canonical({name: each.get(name) for name in (*WAY, *MACHINE)}), each)
        found = [each for each in ways.values() if cls.of_block(each) is not None]
        if not found:
            return None
        names = ("device", *WAY, *MACHINE)
        first, others = cls.of_block(found[0]), tuple({name: each[name] for name in names} for each in found[1:])
        return None if first is None else replace(first, others=others)

    def save(self, run: Path, identity: str | None = None) -> None:
        """Record the runtime in a run directory.

        Args:
            identity: Of the run, so that the record of another run is told from this one's; None to leave it out.
        """
        content = asdict(self) | {"others": [dict(each) for each in self.others], "identity": identity}
        if not content["measured"]:
            del content["measured"]
        write_record(run / layout.RUNTIME, content)

    def with_portions(self, micro_batch: int, vae_slicing: bool) -> Runtime:
        """The same runtime after memory ran out."""
        return replace(self, micro_batch=micro_batch, vae_slicing=vae_slicing)

    @property
    def machine(self) -> Machine:
        """What drew last."""
        return Machine(self.processor, self.instructions, self.torch)

    @property
    def drawn(self) -> dict[str, Any]:
        """What a block says of how it was drawn; portions only where they decide something."""
        names = ("device", *WAY, *MACHINE, *(() if self.exact else PORTIONS))
        return {name: getattr(self, name) for name in names}

    def drew(self, drawn: Mapping[str, Any]) -> bool:
        """Whether a block that says this of itself can be of this run."""
        names = (*WAY, *MACHINE)
        ways = (vars(self), *self.others)
        return any(all(each.get(name) == drawn.get(name) for name in names) for each in ways)

    def unlike(self, drawn: Mapping[str, Any]) -> str:
        """In what a block was drawn otherwise than this runtime draws, in words."""
        names = (*WAY, *MACHINE)
        found = [f"{name}: {drawn.get(name)} in the block, {getattr(self, name)} here" for name in names
                 if drawn.get(name) != getattr(self, name)]
        return shortened("; ".join(found), 300)

    def going_on(self, recorded: Runtime, here: Machine) -> tuple[Runtime, list[str]]:
        """This runtime as it is recorded from the next image on, and in what it differs from what drew before.

        Args:
            recorded: What drew the blocks that there are.
        """
        old, new = recorded.drawn, replace(self, **vars(here)).drawn
        differences = [f"{name}: {old[name]} -> {new[name]}" for name in WAY if old[name] != new[name]]
        differences += recorded.machine.differences(here)
        if not recorded.processor:
            differences.append(f"processor: not recorded -> {here.processor}")
        if not differences:
            return self, []
        names = ("device", *WAY, *MACHINE)
        earlier = [*recorded.others, {name: old[name] for name in names}]
        others = tuple(each for each in earlier if any(each.get(name) != new[name] for name in names))
        return replace(self, **vars(here), others=others), differences

    @property
    def described(self) -> str:
        """What drew the images, on one line."""
        own = f"{self.device}, {self.dtype}{', exact' if self.exact else ''}, torch {self.torch}"
        names = f" ({self.processor}: {self.instructions})" if self.processor else ""
        others = [f"{each['dtype']}, torch {each['torch']} ({each['processor'] or 'not recorded'}: "
                  f"{each['instructions'] or 'not recorded'})" for each in self.others]
        return f"{own}{names}{'; other images: ' if others else ''}{'; '.join(others)}"

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU draws; it decides how an image is computed."""
        return self.device.startswith("cpu")

    @property
    def accelerated(self) -> bool:
        """Whether something else than the CPU draws, so that the CPU has time for other work meanwhile.

        It decides when work is done and must not decide how.
        """
        return not self.on_cpu

    @contextmanager
    def threads_set(self) -> Iterator[None]:
        """Compute with the recorded number of threads: sums split otherwise round otherwise."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def set_threads(count: int) -> None:
    """Let torch compute with so many threads in this thread: each one has a number of its own."""
    import torch

    torch.set_num_threads(count)


_Dtype = Literal["float32", "bfloat16", "float16"]
_Attention = Literal["sdpa", "xformers"]
_Device = Annotated[str, Field(pattern=r"^[a-z]+(:\d{1,3})?$")]
_Arithmetic = Annotated[int, Field(ge=1, le=ARITHMETIC)]
_Text = Annotated[str, Field(max_length=400)]


class _RuntimeEntry(BaseModel):
    """One of `Runtime.others`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    device: _Device
    dtype: _Dtype
    attention: _Attention
    compile: bool
    arithmetic: _Arithmetic
    exact: bool
    processor: _Text
    instructions: _Text
    torch: _Text


class _Record(BaseModel):
    """What `runtime.json` may say."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    device: _Device
    dtype: _Dtype
    micro_batch: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)]
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)]
    torch: _Text
    measured: dict[str, float] = Field(default_factory=dict)
    attention: _Attention = "sdpa"
    compile: bool = False
    offload: Literal["none", "model"] = "none"
    vae_slicing: bool = False
    arithmetic: _Arithmetic = 1
    exact: bool = False
    processor: _Text = ""
    instructions: _Text = ""
    others: list[_RuntimeEntry] = Field(default_factory=list)
