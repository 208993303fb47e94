"""How many pictures a second does `terrasynth run` make, beside a plain loop and beside the bare pipeline?

    python tests/benchmarks/sampling_speed.py --model ldm-ucm --steps 20 --rounds 3 --json speed.json
    python tests/benchmarks/sampling_speed.py --quality

Three ways, in turn, so that a disturbance hits all alike: the loop that a user would write with diffusers (one prompt
at a time, 50 steps, float32, saved by Pillow), diffusers' pipeline at the batch, steps and precision of the run, whose
pictures are thrown away, and `synthesis.run`, which encodes, scores, filters, writes blocks and shards, reports and
writes the card as well. Loading the models is counted in none of them. Prints medians over the rounds and ratios, in
wall-clock and in processor time: the latter says more where the machine has other work. `--quality` compares the scene
accuracy of the loop's pictures and the run's, of the same prompts and seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from terrasynth.eval import load_classifier
from terrasynth.synthesis import Recipe, load_generator, run
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.events import Finished, Planned
from terrasynth.synthesis.execution.job import Job
from tests.synthesis.helpers import find

LOOP_STEPS = 50
LOOP_PICTURES = 4  # a round; the loop is slow, and one picture is like another
GUIDANCE = 2.0
FILTERS = [
    {"kind": "alignment", "encoder": "clip-ucm", "min_score": -1.0},  # measured, and fails nothing: n stays n
    {"kind": "duplicate", "max_similarity": 1.0},
]


@dataclass(frozen=True)
class Time:
    """Seconds a picture."""

    wall: float
    processor: float


def timed(work: Callable[[], object], pictures: int, device: str) -> Time:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return Time((time.perf_counter() - wall) / pictures, (time.process_time() - processor) / pictures)


def plain_pipeline(folder: Path, device: str, dtype: torch.dtype = torch.float32) -> Any:
    with quiet():
        pipeline = DiffusionPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def plain_loop(pipeline: Any, prompts: list[str], seeds: list[int], folder: Path) -> list[np.ndarray]:
    """What a user would write."""
    pictures = []
    for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        noise = torch.Generator("cpu").manual_seed(seed)
        picture = pipeline(
            prompt, num_inference_steps=LOOP_STEPS, guidance_scale=GUIDANCE, generator=noise
        ).images[0]
        picture.save(folder / f"{number:05d}.png")
        pictures.append(np.asarray(picture))
    return pictures


def recipe(options: argparse.Namespace, classes: int) -> Recipe:
    """One block of each of the first classes."""
    from terrasynth.prompts import load_expander

    block = options.batch
    return Recipe.parse({
        "generator": {"model": options.model, "steps": options.steps, "guidance": GUIDANCE},
        "prompts": {"expander": "grammar", "classes": list(load_expander("grammar").classes)[:classes]},
        "filters": FILTERS,
        "target": {"per_class": block, "max_attempts": block},
        "runtime": {"block_size": block, "micro_batch": block, "device": options.device, "dtype": options.dtype,
                    "exact": False},  # the loop beside it draws in batches, too
    })


class Stopwatch:
    """Times a run from the moment when everything is loaded."""

    def __init__(self) -> None:
        self.at: list[tuple[float, float]] = []

    def __call__(self, event: object) -> None:
        if isinstance(event, Planned | Finished):
            self.at.append((time.perf_counter(), time.process_time()))

    def per(self, pictures: int) -> Time:
        (wall, processor), (wall_end, processor_end) = self.at
        return Time((wall_end - wall) / pictures, (processor_end - processor) / pictures)


def measure(options: argparse.Namespace, folder: Path, scratch: Path) -> tuple[dict[str, list[Time]], dict[str, Any]]:
    classes = max(1, options.n // options.batch)
    wanted = recipe(options, classes)
    job = Job(wanted, scratch / "nowhere")
    runtime, (height, width) = job.runtime, job.maker.generator.size
    texts = [prompt.text for label in job.classes for prompt in job.prompts(label, 0, options.batch)]
    seeds = [job.identity.attempt(label, k)[1] for label in job.classes for k in range(options.batch)]
    exact = plain_pipeline(folder, runtime.device)
    autocast = runtime.device == "cpu" and runtime.dtype == "bfloat16"
    bare = exact if runtime.device == "cpu" else plain_pipeline(
        folder, runtime.device, getattr(torch, runtime.dtype))

    def draw_bare(steps: int = options.steps) -> None:
        cast = torch.autocast("cpu", dtype=torch.bfloat16) if autocast else nullcontext()
        for start in range(0, len(texts), options.batch):
            part = slice(start, start + options.batch)
            noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds[part]]
            with torch.no_grad(), cast:
                bare(prompt=texts[part], num_inference_steps=steps, guidance_scale=GUIDANCE,
                     generator=noise, output_type="np")

    found: dict[str, list[Time]] = {"loop": [], "pipeline": [], "run": []}
    draw_bare(1)  # the first call of a kind is slower, in bfloat16 by a factor
    exact(texts[0], num_inference_steps=1, guidance_scale=GUIDANCE)
    for number in range(options.rounds):
        loop = timed(lambda: plain_loop(exact, texts[:LOOP_PICTURES], seeds[:LOOP_PICTURES], scratch), LOOP_PICTURES,
                     runtime.device)
        pipeline = timed(draw_bare, len(texts), runtime.device)
        watch = Stopwatch()
        result = run(wanted, scratch / f"run-{number}", watch)
        assert (result.drawn, result.accepted) == (len(texts), len(texts))
        for name, seconds in (("loop", loop), ("pipeline", pipeline), ("run", watch.per(len(texts)))):
            found[name].append(seconds)
            print(f"round {number + 1}, {name}: {seconds.wall:.3f} s a picture, {seconds.processor:.3f} s of processor",
                  file=sys.stderr, flush=True)
    how = {"device": runtime.device, "dtype": runtime.dtype, "threads": torch.get_num_threads(), "batch": options.batch,
           "steps": options.steps, "pixels": f"{width} x {height}", "pictures": len(texts), "rounds": options.rounds,
           "torch": torch.__version__}
    return found, how


def rows_of(found: dict[str, list[Time]], how: dict[str, Any]) -> list[dict[str, Any]]:
    names = {"loop": f"the plain loop: one at a time, {LOOP_STEPS} steps, float32, saved as PNG",
             "pipeline": "the bare pipeline, pictures thrown away",
             "run": "`terrasynth run`: scored, filtered, written"}
    rows = []
    for name, times in found.items():
        rows.append({
            "way": names[name],
            "seconds": statistics.median(each.wall for each in times),
            "processor_seconds": statistics.median(each.processor for each in times),
            "against_loop": statistics.median(a.wall / b.wall for a, b in zip(found["loop"], times, strict=True)),
            "against_loop_processor": statistics.median(
                a.processor / b.processor for a, b in zip(found["loop"], times, strict=True)),
            "against_pipeline": statistics.median(
                a.wall / b.wall for a, b in zip(found["pipeline"], times, strict=True)),
            "against_pipeline_processor": statistics.median(
                a.processor / b.processor for a, b in zip(found["pipeline"], times, strict=True)),
            "rounds": [[each.wall, each.processor] for each in times],
        })
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| way | s a picture | pictures/s | times the loop | times the bare pipeline |", "|---|---|---|---|---|"]
    for row in rows:
        seconds, processor = row["seconds"], row["processor_seconds"]
        lines.append(
            f"| {row['way']} | {seconds:.3f} ({processor:.3f}) | {1 / seconds:.2f} ({1 / processor:.2f}) | "
            f"{row['against_loop']:.1f} ({row['against_loop_processor']:.1f}) | "
            f"{row['against_pipeline']:.2f} ({row['against_pipeline_processor']:.2f}) |"
        )
    return [*lines, "", "In brackets: the same in processor time."]


def quality(options: argparse.Namespace, folder: Path, scratch: Path) -> dict[str, Any]:
    """Scene accuracy of the loop's pictures and of ours, of the same prompts and seeds."""
    from terrasynth.prompts import load_expander

    expander = load_expander("grammar")
    per_class = max(1, options.n_quality // len(expander.classes))
    labels = [label for label in expander.classes for _ in range(per_class)]
    texts = [prompt.text for label in expander.classes for prompt in expander.expand(label, 0, 0, per_class)]
    seeds = list(range(len(texts)))
    classifier = load_classifier("scene-ucm", device=options.device if options.device != "auto" else "cpu")
    generator = load_generator(options.model, steps=options.steps, guidance=GUIDANCE, device=options.device,
                               dtype=options.dtype, micro_batch=options.batch)
    ours = generator.generate(texts, seeds)
    exact = plain_pipeline(folder, str(generator.pipeline.device))
    theirs = np.stack(plain_loop(exact, texts, seeds, scratch))
    right = {
        name: np.array([classifier.labels[row.argmax()] == label for row, label in zip(
            classifier.probabilities(pictures), labels, strict=True)], float)
        for name, pictures in (("run", ours), ("loop", theirs))
    }
    difference = right["run"] - right["loop"]
    draws = np.random.default_rng(0).choice(difference, (2000, len(difference))).mean(axis=1)
    return {"n": len(labels), "seeds": "0 ..", "network": classifier.identity(), "run": right["run"].mean(),
            "loop": right["loop"].mean(), "difference": difference.mean(),
            "interval": [float(each) for each in np.quantile(draws, [0.025, 0.975])]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ldm-ucm", help="an embedded name, a folder or a Hub id")
    parser.add_argument("--steps", type=int, default=20, help="of the run and of the bare pipeline")
    parser.add_argument("--n", type=int, default=64, help="pictures of a round, but for the loop's")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes by itself where not given")
    parser.add_argument("--quality", action="store_true", help="scene accuracy too; the loop takes its time")
    parser.add_argument("--n-quality", type=int, default=210)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    source = find(options.model)
    if source.draws_tokens:
        parser.error(f"--model {options.model}: a generator that draws tokens takes no steps; see mhn_cache.py")
    with tempfile.TemporaryDirectory() as scratch:
        found, how = measure(options, source.folder, Path(scratch))
        rows = rows_of(found, how)
        told = ", ".join(f"{name} {value}" for name, value in how.items())
        lines = [f"`{source.name}`, revision {source.revision}: {told} "
                 "(`python tests/benchmarks/sampling_speed.py`).", "", *table(rows)]
        report = {"model": source.name, "revision": source.revision, "how": how, "rows": rows}
        if options.quality:
            judged = quality(options, source.folder, Path(scratch))
            report["quality"] = judged
            low, high = judged["interval"]
            lines += ["", f"Scene accuracy (scene-ucm, n = {judged['n']}): {judged['run']:.3f} at {options.steps} "
                      f"steps, {judged['loop']:.3f} of the loop; difference {judged['difference']:+.3f} "
                      f"[{low:+.3f}, {high:+.3f}] (bootstrap over pictures)."]
    print("\n".join(lines))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
