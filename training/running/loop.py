"""The training loop that every model family shares: one `accelerate` loop, a time budget, and resume."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import nn

from terrasynth.errors import how_to_install, not_installed
from terrasynth.permissions import like_new_files
from terrasynth.synthesis.core.files import locked
from terrasynth.synthesis.core.stopping import stop_on_signal
from terrasynth.training.errors import InputError
from terrasynth.training.running.place import these_processes
from terrasynth.training.running.progress import Progress
from terrasynth.training.running.rates import learning_rate_factor
from terrasynth.training.running.same_training import COMPLETE, check_resumable, made_from, note_complete, resolved
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.running.task import Outcome, Task

if TYPE_CHECKING:
    from accelerate import Accelerator

FIGURES = "figures.json"
"""What the kept weights reached on `val`; written after them."""
KEEPING = "keeping a checkpoint after this step; press again to end at once"
log = logging.getLogger("terrasynth")


def rows_of_step(n: int, batch: int, step: int, seed: int, rank: int, world: int) -> torch.Tensor:
    """Row numbers of one step: consecutive slices of an endless chain of seeded permutations of `range(n)`.

    A pure function, so that resuming needs no sampler state. int64 (batch,).
    """
    first = (step * world + rank) * batch
    wanted = range(first, first + batch)
    orders: dict[int, torch.Tensor] = {}
    picked = []
    for position in wanted:
        epoch, offset = divmod(position, n)
        if epoch not in orders:
            orders[epoch] = torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        picked.append(orders[epoch][offset])
    return torch.stack(picked)


class _Average:
    """Exponential moving average of some networks, with `diffusers`' warm-up; swapped in for validation and saving."""

    def __init__(self, networks: dict[str, nn.Module], decay: float) -> None:
        from diffusers.training_utils import EMAModel

        self.tensors = [t for network in networks.values() for t in network.state_dict(keep_vars=True).values()
                        if t.is_floating_point()]
        self.model = EMAModel(self.tensors, decay=decay, foreach=True)

    def step(self) -> None:
        self.model.step(self.tensors)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        self.model.store(self.tensors)
        self.model.copy_to(self.tensors)
        try:
            yield
        finally:
            self.model.restore(self.tensors)


def train(task: Task, settings: LoopSettings, out: Path, resume: bool = True, work: Path | None = None,
          more: Mapping[str, object] | None = None, names: Mapping[str, str] | None = None) -> Outcome:
    """Train `task` and leave the best averaged weights (by `val` score, or the last where there is none) in `out`.

    `work/checkpoint` holds the state to resume from, `work/previews` images, `work/logs` the tensorboard events, where
    the extra `train` is installed.
    The same command resumes where the last checkpoint ended; time spent before counts against `minutes`. The first
    SIGINT or SIGTERM (a scheduler's, too) ends the training after its step, with a checkpoint; a second one at once.

    Args:
        task: The model family, its data already loaded.
        settings: Steps, time, optimizer and so on.
        out: Folder of the result; made where it does not exist.
        resume: False starts anew and drops what is there.
        work: Folder of everything but the result; None for `out`.
        more: What decides the weights and the loop does not know, such as a hash of the data, JSON-able: a checkpoint
            of a training where it was otherwise is refused.
        names: What people call parts of it that are hashes, by their dotted keys: a refusal says these.

    Returns:
        Steps and minutes spent, the step of the best checkpoint and its `val` figures.

    Raises:
        InputError: The checkpoint is of another training, or damaged; or another training is writing there.
        KeyboardInterrupt: A signal ended it.
    """
    work = work or out
    lock = locked(work / "logs") if these_processes().is_main_process else nullcontext()
    with lock, stop_on_signal(KEEPING) as should_stop:
        return _train(task, settings, out, resume, work, more or {}, names or {}, should_stop)


def finished_before(settings: LoopSettings, work: Path, more: Mapping[str, object], processes: int) -> Outcome | None:
    """How a training ended that has nothing left to do, by its checkpoint; None where there is something.

    Args:
        settings: With the precision resolved.
        work: As `train` takes it.
        more: As `train` takes it.
        processes: That train together.

    Raises:
        InputError: The checkpoint is of another training, or damaged.
    """
    checkpoint = work / "checkpoint"
    if not (checkpoint / COMPLETE).is_file():
        return None
    reached = check_resumable(checkpoint, made_from(settings, more, processes))
    if not reached or reached["validated"] != reached["step"]:
        return None
    if reached["step"] < settings.max_steps and reached["minutes"] < settings.minutes:
        return None
    return Outcome(reached["step"], reached["minutes"], reached["best_step"], reached["figures"], reached["step"])


def finished_remark(outcome: Outcome) -> str:
    """What is said of a training that was finished before, on one line."""
    return (f"this training is finished: {outcome.steps} steps, and nothing is left to do; more loop.max_steps or "
            "--minutes go on with it, --restart begins anew")


def _trackers() -> str | None:
    """What keeps the losses of all steps as events; None where it is not installed: they are for those who ask."""
    if find_spec("tensorboard") is not None:
        return "tensorboard"
    log.info("no events of the losses are written: %s", not_installed("logs/", "tensorboard", "train"))
    return None


def _train(task: Task, settings: LoopSettings, out: Path, resume: bool, work: Path, more: Mapping[str, object],
           names: Mapping[str, str], should_stop: Callable[[], bool]) -> Outcome:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import ProjectConfiguration, set_seed

    checkpoint = work / "checkpoint"
    settings = resolved(settings, these_processes().device, checkpoint if resume else None)
    AcceleratorState._reset_state()  # the library keeps the precision of a process's first training for all others
    accelerator = Accelerator(
        mixed_precision=settings.mixed_precision,
        log_with=_trackers(),
        project_config=ProjectConfiguration(project_dir=str(work), logging_dir=str(work / "logs")),
    )
    set_seed(settings.seed)  # dropout inside library modules has no generator argument
    networks = task.networks()
    for network in networks.values():
        # Registered for checkpoints but not wrapped: a task calls its networks as they are, and more than their
        # `forward`. `_reduce` averages the gradients instead.
        accelerator.prepare_model(network, evaluation_mode=True)
    optimisers = {
        player: accelerator.prepare(_optimiser(task, player, settings))
        for player in task.players
    }
    average = _Average(networks, settings.ema_decay)
    ledger = _Ledger()
    accelerator.register_for_checkpointing(average.model, ledger)
    accelerator.init_trackers(out.name)
    made = made_from(settings, more, accelerator.num_processes)
    if resume and (checkpoint / COMPLETE).is_file():
        check_resumable(checkpoint, made, names)
        accelerator.load_state(str(checkpoint))
    average.model.to(accelerator.device)
    begun_at = ledger.step

    progress = Progress(out.name, enabled=accelerator.is_main_process)
    clock = time.monotonic() - ledger.seconds

    def done() -> float:
        spent = max(ledger.step / settings.max_steps, (time.monotonic() - clock) / 60 / settings.minutes)
        return _agreed(spent, accelerator) if math.isfinite(settings.minutes) else spent

    if ledger.step and done() >= 1 and ledger.validated != ledger.step:  # cut, and now to end where it was cut
        with average.swapped(), torch.no_grad():
            _validate(task, ledger, out, work, accelerator)
        _save_checkpoint(accelerator, checkpoint, made, names, ledger)
    elif ledger.step and done() >= 1 and accelerator.is_main_process:
        print(finished_remark(ledger.outcome(begun_at)), file=sys.stderr)
    while (fraction := done()) < 1:
        rate = settings.learning_rate * learning_rate_factor(ledger.step, fraction, settings.warmup_steps)
        for optimiser in optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate * group["rate"]
        shown: dict[str, float] = defaultdict(float)
        for micro in range(settings.accumulate):
            index = ledger.step * settings.accumulate + micro
            rows = rows_of_step(len(task), settings.batch_size, index, settings.seed,
                                accelerator.process_index, accelerator.num_processes)
            seed = (settings.seed * 7_919 + index) * accelerator.num_processes + accelerator.process_index
            batch = task.batch(rows, torch.Generator().manual_seed(seed))
            for player, optimiser in optimisers.items():
                with accelerator.autocast():
                    losses = task.losses(player, batch, fraction)
                if not losses:
                    continue  # a player that has not entered the game yet
                total = torch.stack([value.float() for value in losses.values()]).sum()
                accelerator.backward(total / settings.accumulate)
                for name, value in losses.items():
                    shown[f"{player}/{name}"] += value.item() / settings.accumulate
                if micro == settings.accumulate - 1:
                    mine = [p for n in task.player_networks(player) for p in networks[n].parameters()]
                    _reduce(mine, accelerator)
                    accelerator.clip_grad_norm_(mine, settings.clip_norm)
                    optimiser.step()
                    for each in optimisers.values():
                        each.zero_grad(set_to_none=True)
        average.step()
        ledger.step += 1
        ledger.seconds = time.monotonic() - clock
        if not all(math.isfinite(value) for value in shown.values()):
            raise FloatingPointError(f"step {ledger.step}: a loss is not finite ({dict(shown)}); lower learning_rate "
                                     "and begin anew with --restart")
        progress.step(ledger.step, done(), ledger.seconds, shown)
        if ledger.step % 20 == 0:
            accelerator.log(dict(shown), step=ledger.step)
        last = done() >= 1
        if last or ledger.step % settings.validate_every == 0:
            with average.swapped(), torch.no_grad():
                _validate(task, ledger, out, work, accelerator)
            ledger.seconds = time.monotonic() - clock
        if accelerator.is_main_process and (last or ledger.step % settings.preview_every == 0):
            with average.swapped(), torch.no_grad():
                _preview(task, ledger.step, work)
        stopping = not last and bool(_agreed(float(should_stop()), accelerator))
        if last or stopping or ledger.step % settings.checkpoint_every == 0:
            _save_checkpoint(accelerator, checkpoint, made, names, ledger)
        if stopping:
            raise KeyboardInterrupt
    accelerator.end_training()
    progress.close()
    return ledger.outcome(begun_at)


def _save_checkpoint(accelerator: Accelerator, checkpoint: Path, made: Mapping[str, Any], names: Mapping[str, str],
                     ledger: _Ledger) -> None:
    """Every process writes its part; the mark of completeness is gone before the first and back after the last."""
    if accelerator.is_main_process:
        (checkpoint / COMPLETE).unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(checkpoint))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        reached = {"step": ledger.step, "minutes": ledger.seconds / 60, "best_step": ledger.best_step,
                   "validated": ledger.validated, "figures": ledger.figures}
        note_complete(checkpoint, made, names, reached)


def _agreed(value: float, accelerator: Accelerator) -> float:
    """What the first process has, for all: one that ended a step earlier would leave the others waiting for ever."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import broadcast

    return float(broadcast(torch.tensor(value, dtype=torch.float64, device=accelerator.device)))


class _Ledger:
    """Where the run stands; checkpointed with the weights."""

    def __init__(self) -> None:
        self.step = 0
        self.seconds = 0.0
        self.best_step = self.validated = 0
        self.best_score = -math.inf
        self.figures: dict[str, float] = {}

    def state_dict(self) -> dict[str, object]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, object]) -> None:
        vars(self).update(state)

    def outcome(self, begun_at: int) -> Outcome:
        return Outcome(self.step, self.seconds / 60, self.best_step, self.figures, begun_at)


def _reduce(parameters: Sequence[nn.Parameter], accelerator: Accelerator) -> None:
    """Average the gradients over the processes."""
    if accelerator.num_processes > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad = accelerator.reduce(parameter.grad, reduction="mean")


def _optimiser(task: Task, player: str, settings: LoopSettings) -> torch.optim.Optimizer:
    """One group for each network, rate and kind of parameter; vectors (biases, norms) have no weight decay."""
    found: dict[tuple[str, float, bool], list[nn.Parameter]] = {}
    for network in task.player_networks(player):
        parameters = [(name, p) for name, p in task.networks()[network].named_parameters() if p.requires_grad]
        for matrices in (True, False):  # in this order, which checkpoints of earlier versions have
            for name, parameter in parameters:
                if (parameter.ndim > 1) == matrices:
                    found.setdefault((network, task.rate(network, name), matrices), []).append(parameter)
    groups = [{"params": parameters, "rate": rate, "weight_decay": settings.weight_decay if matrices else 0.0}
              for (_, rate, matrices), parameters in found.items()]
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise InputError("loop.optimiser adamw8bit needs bitsandbytes; use adamw, or install it "
                         f"{how_to_install('8bit')}") from error
    optimiser: torch.optim.Optimizer = AdamW8bit(groups, lr=settings.learning_rate, betas=settings.betas)
    return optimiser


def _validate(task: Task, ledger: _Ledger, out: Path, work: Path, accelerator: Accelerator) -> None:
    figures = task.validate()
    ledger.validated = ledger.step
    accelerator.log({f"val/{k}": v for k, v in figures.items()}, step=ledger.step)
    score = figures.get("score", math.inf)
    if score <= ledger.best_score < math.inf or not accelerator.is_main_process:
        return
    ledger.best_score, ledger.best_step, ledger.figures = score, ledger.step, figures
    task.save(out)
    like_new_files(out)
    work.mkdir(parents=True, exist_ok=True)
    (work / FIGURES).write_text(json.dumps({"step": ledger.step, "val": figures}, indent=1) + "\n")


def _preview(task: Task, step: int, work: Path) -> None:
    sheet = task.preview()
    if sheet is not None:
        (work / "previews").mkdir(parents=True, exist_ok=True)
        Image.fromarray(sheet).save(work / "previews" / f"{step:07d}.png")
