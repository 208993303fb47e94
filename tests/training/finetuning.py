"""What the tests of tuning share: small pictures, small settings, and a task without a loop round it."""

import json

import torch
from PIL import Image

from terrasynth.training.data import read_pairs
from terrasynth.training.data.views import read_split
from terrasynth.training.running.place import Place
from terrasynth.training.tuning.families import open_base
from terrasynth.training.tuning.settings import FinetuneSettings
from terrasynth.training.tuning.task import FinetuneTask
from terrasynth.training.tuning.validation import Validation
from tests.tiny import tiny_pictures

CPU = torch.device("cpu")
LOOP = {"loop.max_steps": 4, "loop.batch_size": 4, "loop.validate_every": 2, "loop.checkpoint_every": 1,
        "loop.preview_every": 4, "loop.mixed_precision": "no", "loop.learning_rate": 0.05, "loop.warmup_steps": 1,
        "model.validation.encoder": None, "model.validation.choose": "loss", "model.validation.pictures": 0}


def write_pictures(folder, count=6, size=24):
    """Two classes, `count` pictures of `train` and two of `val` each, with two captions a picture."""
    rows = []
    for number, label in enumerate(("beach", "dense_forest")):
        (folder / label).mkdir(parents=True)
        for i, pixels in enumerate(tiny_pictures(count + 2, size=size, seed=number)):
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
            rows.append({"file": f"{label}/{i}.png", "class": label, "split": "train" if i < count else "val",
                         "captions": ["a river and a bridge", f"green grass on the {label}"]})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def make_task(base, data, cache, kind=FinetuneTask, **settings):
    """A task on `data`, tuned by LoRA unless `settings` say otherwise; no encoder judges its pictures."""
    values = {"method": "lora", "validation": {"choose": "loss", "encoder": None, "steps": 2, "guidance": 2.0}}
    chosen = FinetuneSettings.model_validate(values | settings)
    pairs = read_pairs(data)
    train, val = (read_split(pairs.split(name), name, pairs.skipped) for name in ("train", "val"))
    torch.manual_seed(0)
    return kind(open_base(str(base)), train, val, chosen, Place(CPU, "no", 0, cache),
                Validation(chosen.validation, val, CPU, 0))


def stir(task, size=5.0):
    """Give every trained weight a random change that half precision can say, so that its effect can be seen."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for network in task.networks().values():
            for parameter in network.parameters():
                parameter += size * parameter.abs().mean().clamp(min=0.1) * torch.randn(parameter.shape,
                                                                                        generator=generator)
                parameter.copy_(parameter.half())
