"""Tune a LoRA whose noise depends on the picture alone; started by `launch` in a test."""

from pathlib import Path

import torch

from terrasynth.training.running.loop import train
from terrasynth.training.running.place import these_processes
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.tuning.task import FinetuneTask
from tests.training.finetuning import make_task


class _Plain(FinetuneTask):
    """The same noise for a picture wherever and with whichever others it is seen."""

    def batch(self, rows, generator):
        made = [super(_Plain, self).batch(row[None], torch.Generator().manual_seed(int(row))) for row in rows]
        return {name: torch.cat([each[name] for each in made]) for name in ("latents", "noise", "timesteps")} | {
            "texts": [text for each in made for text in each["texts"]]}


def main(base: str, data: str, out: str, batch: str) -> None:
    with these_processes().main_process_first():
        task = make_task(base, data, Path(out) / "cache", _Plain, lora={"rank": 4}, caption_dropout=0.0)
    loop = LoopSettings(max_steps=3, batch_size=int(batch), learning_rate=1e-2, warmup_steps=1, validate_every=3,
                        preview_every=3, checkpoint_every=3, mixed_precision="no", ema_decay=0.0)
    train(task, loop, Path(out))
