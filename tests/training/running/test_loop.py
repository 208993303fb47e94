import math
import os
import signal

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import locked
from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.families.scene import SceneSettings, SceneTask
from terrasynth.training.running.loop import rows_of_step, train
from terrasynth.training.running.rates import learning_rate_factor, warm_up_remark
from terrasynth.training.running.settings import LoopSettings
from tests.training.launching import launch

TINY = {"size": 32, "embedding_size": 8, "hidden_sizes": (8, 8, 8, 8), "depths": (1, 1, 1, 1)}


def _settings(**changes):
    values = {"max_steps": 12, "batch_size": 8, "learning_rate": 1e-2, "warmup_steps": 2, "validate_every": 4,
              "preview_every": 4, "checkpoint_every": 4, "mixed_precision": "no"}
    return LoopSettings(**{**values, **changes})


def _killed():
    raise KeyboardInterrupt


class _Cut(SceneTask):
    """Stops as if the process had been killed, or as `by` says."""

    def __init__(self, *arguments, cut_at=math.inf, by=_killed):
        super().__init__(*arguments)
        self.left, self.by = cut_at, by

    def batch(self, rows, generator):
        self.left -= 1
        if self.left == -1:
            self.by()
        return super().batch(rows, generator)


def _task(real, **changes):
    torch.manual_seed(0)
    return _Cut(load_splits(read_pairs(real), 40), SceneSettings(**TINY), torch.device("cpu"), **changes)


def test_every_epoch_visits_every_row_once_whatever_the_number_of_processes():
    n, batch = 10, 4
    for world in (1, 2):
        seen = [
            row for step in range(20 // (batch * world) + 1) for rank in range(world)
            for row in rows_of_step(n, batch, step, 0, rank, world).tolist()
        ]
        assert sorted(seen[:10]) == list(range(10))
        assert sorted(seen[10:20]) == list(range(10))
        assert seen[:10] != seen[10:20]


def test_learning_rate_warms_up_and_ends_at_zero():
    assert learning_rate_factor(0, 0.0, 10) == pytest.approx(0.1)
    assert learning_rate_factor(9, 0.0, 10) == pytest.approx(1.0)
    assert learning_rate_factor(50, 0.5, 10) == pytest.approx(0.5)
    assert learning_rate_factor(99, 1.0, 10) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("steps", "warm", "said"), [
    (20, 100, "loop.warmup_steps 100 of loop.max_steps 20: the learning rate gets no higher than 6% of "),
    (100, 100, "27%"),
    (800, 100, ""), (12, 2, ""), (5, 0, "")])
def test_a_warm_up_that_fills_a_training_is_said(steps, warm, said):
    remark = warm_up_remark(_settings(max_steps=steps, warmup_steps=warm))
    assert said in remark
    assert bool(said) is bool(remark)


def test_a_training_that_was_cut_ends_with_the_same_weights(real, tmp_path):
    whole = train(_task(real), _settings(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(_task(real, cut_at=7), _settings(), tmp_path / "cut")
    resumed = _task(real)
    ended = train(resumed, _settings(), tmp_path / "cut")
    assert (whole.steps, whole.best_step, whole.figures) == (ended.steps, ended.best_step, ended.figures)
    assert resumed.left == math.inf
    a, b = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert all(tensor.dtype == torch.float16 for tensor in a.values() if tensor.is_floating_point())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_costs_no_step(real, tmp_path, capsys, number):
    """It comes in the third of twelve steps, before the first checkpoint that was planned."""
    task = _task(real, cut_at=2, by=lambda: os.kill(os.getpid(), number))
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train(task, _settings(), tmp_path / "cut")
    assert signal.getsignal(number) is handler
    assert "keeping a checkpoint after this step; press again to end at once\n" in capsys.readouterr().err
    ended = train(_task(real), _settings(), tmp_path / "cut")
    assert ended.begun_at == 3
    whole = train(_task(real), _settings(), tmp_path / "whole")
    assert (whole.steps, whole.best_step, whole.figures) == (ended.steps, ended.best_step, ended.figures)
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_signal_in_the_last_step_does_not_end_what_has_ended(real, tmp_path):
    task = _task(real, cut_at=11, by=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(task, _settings(), tmp_path / "out").steps == 12


def test_a_training_that_is_to_end_where_it_was_cut_has_a_result(real, tmp_path):
    """It was cut before anything was looked at, and goes on with fewer steps than it has taken: none is left."""
    with pytest.raises(KeyboardInterrupt):
        train(_task(real, cut_at=7), _settings(validate_every=100), tmp_path / "cut")
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    ended = train(_task(real), _settings(validate_every=100, max_steps=3), tmp_path / "cut")
    assert (ended.steps, ended.best_step) == (4, 4)
    assert ended.figures["n"] == 12
    kept = (tmp_path / "cut" / "model.safetensors").read_bytes()
    again = train(_task(real), _settings(validate_every=100, max_steps=3), tmp_path / "cut")
    assert (again.best_step, again.figures) == (ended.best_step, ended.figures)
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == kept


def test_two_trainings_do_not_write_to_one_folder(real, tmp_path):
    with locked(tmp_path / "out" / "logs"), pytest.raises(InputError, match="in use by another process"):
        train(_task(real), _settings(), tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint").exists()
    assert train(_task(real), _settings(), tmp_path / "out").steps == _settings().max_steps


def test_training_learns_and_leaves_events(real, tmp_path):
    task = _task(real)
    before = task.accuracy("train")[1]
    outcome = train(task, _settings(max_steps=40), tmp_path / "out")
    assert task.accuracy("train")[1] < before - 0.1
    assert outcome.figures["n"] == 12
    assert list((tmp_path / "out" / "logs").rglob("events.out.tfevents.*"))


def test_accumulated_micro_batches_give_the_gradient_of_the_large_batch(real, tmp_path):
    """Without batch statistics and augmentation in the way, two halves step like the whole."""

    class Linear(SceneTask):
        def batch(self, rows, generator):
            train_split = self.splits["train"]
            pixels = train_split.pixels[rows].float().div(255)[..., :32, :32]
            return {"pixels": pixels, "labels": train_split.labels[rows]}

        def losses(self, player, batch, progress):
            self.model.eval()  # running statistics: a picture's logits do not depend on the batch
            logits = self.model(batch["pixels"]).logits
            return {"cross_entropy": torch.nn.functional.cross_entropy(logits, batch["labels"])}

    weights = []
    for batch, accumulate in ((8, 1), (4, 2)):
        torch.manual_seed(0)
        task = Linear(load_splits(read_pairs(real), 40), SceneSettings(**TINY), torch.device("cpu"))
        settings = _settings(max_steps=3, batch_size=batch, accumulate=accumulate, ema_decay=0.0)
        train(task, settings, tmp_path / f"{batch}")
        weights.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))
    assert torch.allclose(weights[0], weights[1], atol=1e-5)


def test_a_time_budget_ends_the_training(real, tmp_path):
    outcome = train(_task(real), _settings(max_steps=10**6, minutes=0.03), tmp_path / "out")
    assert 0 < outcome.steps < 10**6
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_loss_that_is_not_finite_stops_with_its_name(real, tmp_path):
    class Broken(SceneTask):
        def losses(self, player, batch, progress):
            return {"cross_entropy": super().losses(player, batch, progress)["cross_entropy"] * math.nan}

    task = Broken(load_splits(read_pairs(real), 40), SceneSettings(**TINY), torch.device("cpu"))
    with pytest.raises(FloatingPointError, match=r"step 1: a loss is not finite .*cross_entropy"):
        train(task, _settings(), tmp_path / "out")


@pytest.mark.slow
def test_two_processes_step_like_one_with_the_double_batch(python, real, tmp_path):
    for processes, name, batch in ((1, "one", 16), (2, "two", 8)):
        launch(python, processes, "tests.training.running.two_processes", real, tmp_path / name, batch)
    assert (tmp_path / "two" / "checkpoint" / "random_states_1.pkl").is_file()  # there really was a second process
    one, two = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(one[key], two[key], atol=1e-5) for key in one)


def test_every_micro_batch_of_a_step_has_noise_of_its_own(real, tmp_path):
    seeds = []

    class Watched(SceneTask):
        def batch(self, rows, generator):
            seeds.append(generator.initial_seed())
            return super().batch(rows, generator)

    torch.manual_seed(0)
    task = Watched(load_splits(read_pairs(real), 40), SceneSettings(**TINY), torch.device("cpu"))
    train(task, _settings(max_steps=3, accumulate=2), tmp_path)
    assert len(seeds) == 6
    assert len(set(seeds)) == 6


def test_biases_and_norms_do_not_decay_and_gradients_are_clipped(real, tmp_path):
    """Of a loss a million times as large, the gradients at each step are no longer than `clip_norm`."""
    lengths, groups = [], []

    class Loud(SceneTask):
        def losses(self, player, batch, progress):
            return {"cross_entropy": 1e6 * super().losses(player, batch, progress)["cross_entropy"]}

    def look(optimiser, *_):
        groups[:] = [(group["weight_decay"], {parameter.ndim > 1 for parameter in group["params"]})
                     for group in optimiser.param_groups]
        found = [p.grad.flatten() for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        lengths.append(float(torch.cat(found).norm()))

    hook = register_optimizer_step_pre_hook(look)
    try:
        torch.manual_seed(0)
        task = Loud(load_splits(read_pairs(real), 40), SceneSettings(**TINY), torch.device("cpu"))
        train(task, _settings(max_steps=3, clip_norm=0.5, weight_decay=0.3), tmp_path)
    finally:
        hook.remove()
    assert len(lengths) == 3
    assert all(length == pytest.approx(0.5, rel=1e-3) for length in lengths)
    assert groups == [(0.3, {True}), (0.0, {False})]


def test_a_parameter_has_the_rate_that_its_task_says(real, tmp_path):
    """The first step of Adam is the learning rate long, whatever the gradient."""

    class Slow(SceneTask):
        def rate(self, network, parameter):
            assert network == "classifier"
            return 0.1 if parameter.startswith("resnet.") else 1.0

    torch.manual_seed(0)
    task = Slow(load_splits(read_pairs(real), 40), SceneSettings(**TINY), torch.device("cpu"))
    before = {name: parameter.detach().clone() for name, parameter in task.model.named_parameters()}
    train(task, _settings(max_steps=1, warmup_steps=0, weight_decay=0.0, ema_decay=0.0), tmp_path)
    moved = {name: float((parameter.detach() - before[name]).abs().max())
             for name, parameter in task.model.named_parameters()}
    assert {name.split(".")[0] for name in moved} == {"resnet", "classifier"}
    assert all(length == pytest.approx(1e-3 if name.startswith("resnet.") else 1e-2, rel=1e-2)
               for name, length in moved.items())


def test_without_a_score_the_last_state_is_kept(real, tmp_path):
    class Unscored(SceneTask):
        def validate(self):
            figures = super().validate()
            del figures["score"]
            return figures

    torch.manual_seed(0)
    task = Unscored(load_splits(read_pairs(real), 40), SceneSettings(**TINY), torch.device("cpu"))
    outcome = train(task, _settings(max_steps=10, ema_decay=0.0), tmp_path)
    assert outcome.best_step == 10
    assert outcome.figures.keys() == {"accuracy", "nll", "n"}
    kept, last = load_file(tmp_path / "model.safetensors"), task.model.state_dict()
    assert all(torch.equal(tensor, last[name].to(tensor.dtype)) for name, tensor in kept.items())
    more = train(task, _settings(max_steps=11, ema_decay=0.0), tmp_path)
    assert more.best_step == 11
