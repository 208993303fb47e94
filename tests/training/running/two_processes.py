"""Train a classifier without batch statistics or augmentation; started by `launch` in a test."""

from pathlib import Path

import torch

from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.families.scene import SceneSettings, SceneTask
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings


class PlainTask(SceneTask):
    """A picture's loss depends on that picture alone."""

    def batch(self, rows, generator):
        split = self.splits["train"]
        return {"pixels": split.pixels[rows].float().div(255)[..., :32, :32], "labels": split.labels[rows]}

    def losses(self, player, batch, progress):
        self.model.eval()
        return {"cross_entropy": torch.nn.functional.cross_entropy(self.model(batch["pixels"]).logits, batch["labels"])}


def main(data: str, out: str, batch: str) -> None:
    torch.manual_seed(0)
    settings = SceneSettings(size=32, embedding_size=8, hidden_sizes=(8, 8, 8, 8), depths=(1, 1, 1, 1))
    task = PlainTask(load_splits(read_pairs(data), 40), settings, torch.device("cpu"))
    loop = LoopSettings(max_steps=4, batch_size=int(batch), learning_rate=1e-2, warmup_steps=1, validate_every=4,
                        preview_every=4, checkpoint_every=4, mixed_precision="no", ema_decay=0.0)
    train(task, loop, Path(out))
