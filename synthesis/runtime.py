"""Where and in which precision a run draws: resolved once, recorded, and used again when the run is resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from synthesis.errors import InputError, RunError, one_line
from synthesis.files import write_file
from synthesis.recipe import RuntimeSettings

FILE = "runtime.json"
# Which way numbers are computed where several round differently. 1: texts in the batch of their pictures. 2: each text
# alone, once; on a CPU, the decoder's channels last. A run keeps the way that it began with.
ARITHMETIC = 2
DTYPES = ("float32", "bfloat16", "float16")
# Largest first micro-batch; running out of memory halves it.
CPU_MICRO_BATCH, ACCELERATOR_MICRO_BATCH = 8, 16
SMALL_LATENTS = 32  # up to this side, 16 pictures at once are safe on a CPU too, where no error comes before the kill
TOKEN_MICRO_BATCH = 32  # one token of many pictures costs little more than one token of one


@dataclass(frozen=True)
class Runtime:
    """The resolved runtime of a run.

    Attributes:
        device: Torch device.
        dtype: "float32", "bfloat16" or "float16"; on a CPU, "bfloat16" is autocast over float32 weights.
        micro_batch: Pictures drawn at once.
        threads: Threads torch computes with.
        torch: Version of torch.
        measured: Seconds of the trial step by dtype, where "auto" chose by measurement; else empty.
        attention: "sdpa" or "xformers".
        compile: Whether torch compiles the network.
        offload: "model" where only the part of the pipeline that computes is on the GPU, else "none".
        vae_slicing: Whether latents are decoded one by one, because memory ran out.
        arithmetic: Which way numbers are computed, see `ARITHMETIC`; a record that does not say is of the first.
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

    @classmethod
    def resolve(cls, settings: RuntimeSettings, recorded: Runtime | None = None, draws_tokens: bool = False,
                latent_side: int | None = None) -> Runtime:
        """Turn "auto" into what this machine does well, or into what the run recorded when it began.

        Args:
            settings: The recipe's; explicit values win over recorded ones.
            recorded: The runtime of the run that is resumed.
            draws_tokens: Whether the generator draws pictures token by token.
            latent_side: Side of the generator's latent pictures, where it is known.

        Raises:
            InputError: The device does not exist here, or cannot do what is asked for.
        """
        import torch

        device = settings.device
        if device == "auto":
            device = recorded.device if recorded else best_device()
        check_device(device)
        dtype, measured = str(settings.dtype), dict(recorded.measured) if recorded else {}
        if dtype == "auto":
            dtype, measured = (recorded.dtype, measured) if recorded else choose_dtype(device)
        micro_batch = settings.micro_batch
        if micro_batch == "auto":
            micro_batch = recorded.micro_batch if recorded else first_micro_batch(device, draws_tokens, latent_side)
        attention: str = settings.attention
        if attention == "auto":
            attention = recorded.attention if recorded else "sdpa"
        check_attention(attention, device)
        check_offload(settings.offload, device)
        threads = recorded.threads if recorded else torch.get_num_threads()
        return cls(
            device, dtype, micro_batch, threads, str(torch.__version__), measured, attention, settings.compile,
            settings.offload, recorded.vae_slicing if recorded else False,
            recorded.arithmetic if recorded else ARITHMETIC,
        )

    @classmethod
    def load(cls, run: Path) -> Runtime | None:
        """The recorded runtime of a run, or None when it has none yet.

        Raises:
            RunError: The record is damaged.
        """
        path = run / FILE
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise RunError(
                f"{path} cannot be read ({one_line(error)}); remove it to choose the runtime anew"
            ) from error

    def save(self, run: Path) -> None:
        """Record the runtime in a run directory."""
        write_file(run / FILE, json.dumps(asdict(self), indent=2) + "\n")

    def with_portions(self, micro_batch: int, vae_slicing: bool) -> Runtime:
        """The same runtime after memory ran out."""
        return replace(self, micro_batch=micro_batch, vae_slicing=vae_slicing)

    @property
    def accelerated(self) -> bool:
        """Whether something else than the CPU draws, so that the CPU has time for other work meanwhile."""
        return not self.device.startswith("cpu")

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


def best_device() -> str:
    """The fastest device of this machine: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: str) -> None:
    """Check that a device exists here.

    Raises:
        InputError: It does not.
    """
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} cannot be used: {one_line(error)[:120]}; use auto, which is {best_device()!r} here"
        ) from error


def check_attention(attention: str, device: str) -> None:
    """Check that a kind of attention can be had.

    Raises:
        InputError: It cannot.
    """
    from importlib.util import find_spec

    if attention != "xformers":
        return
    lacking = []
    if not device.startswith("cuda"):
        lacking.append(f"pictures are drawn on {device!r}, and it needs a CUDA device")
    if find_spec("xformers") is None:
        lacking.append("the package is not installed; pip install 'terrasynth[gpu]'")
    if lacking:
        raise InputError(f"runtime.attention 'xformers' cannot be had: {'; '.join(lacking)}; or set it to auto")


def check_offload(offload: str, device: str) -> None:
    """Check that a kind of offloading has something to do.

    Raises:
        InputError: It has not.
    """
    if offload != "none" and device.startswith("cpu"):
        raise InputError(f"runtime.offload {offload!r} cannot be had: pictures are drawn on the CPU, and it spares the "
                         "memory of a GPU; set it to none")


def first_micro_batch(device: str, draws_tokens: bool = False, latent_side: int | None = None) -> int:
    """Pictures to try at once on a device."""
    if draws_tokens:
        return TOKEN_MICRO_BATCH
    small = latent_side is not None and latent_side <= SMALL_LATENTS
    return ACCELERATOR_MICRO_BATCH if small or not device.startswith("cpu") else CPU_MICRO_BATCH


def choose_dtype(device: str) -> tuple[Literal["float32", "bfloat16", "float16"], dict[str, float]]:
    """The fastest precision that a device does well, and on a CPU the seconds that decided it.

    bfloat16 has to win by a tenth: a draw is no reason to compute less precisely.
    """
    import torch

    if device.startswith("cuda"):
        return ("bfloat16" if torch.cuda.is_bf16_supported() else "float16"), {}
    if device != "cpu":
        return "float32", {}
    seconds = _trial_steps()
    measured = {name: round(value, 5) for name, value in seconds.items()}
    return ("bfloat16" if seconds["bfloat16"] < 0.9 * seconds["float32"] else "float32"), measured


def _trial_steps(repeats: int = 25) -> dict[str, float]:
    """Seconds of one UNet-like step (convolution and matrix product) on the CPU by dtype.

    The best of many, taken in turn: another process that is busy for a moment must not decide.
    """
    import torch

    convolution = torch.nn.Conv2d(128, 128, 3, padding=1)
    linear = torch.nn.Linear(512, 512)
    maps, tokens = torch.ones(8, 128, 16, 16), torch.ones(8, 256, 512)
    best = {"float32": float("inf"), "bfloat16": float("inf")}
    for _ in range(repeats):
        for name in best:
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "bfloat16"):
                start = time.perf_counter()
                linear(tokens)
                convolution(maps)
                best[name] = min(best[name], time.perf_counter() - start)
    return best
