"""How much faster is a picture of the Hopfield generator drawn with the key-value cache?

    python tests/benchmarks/mhn_cache.py --model mhn-ucm --rounds 3 --json benchmark.json

Draws without cache one picture at a time (every token's past computed anew, as the authors' code does), with cache
one at a time, and with cache 32 at a time: the same weights, texts and seeds, decoded to pictures, in turn, so that a
disturbance hits all alike. Prints medians over the rounds and ratios. In float32 the tokens have to be equal; exit
code 1 when they are not.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from terrasynth.prompts import load_expander
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
from terrasynth.synthesis.generators.hopfield.transformer import HopfieldTransformer
from tests.synthesis.helpers import find

BATCH = 32


@dataclass(frozen=True)
class Way:
    name: str
    batch: int
    use_cache: bool


@dataclass(frozen=True)
class Case:
    dtype: str
    guidance: float


@dataclass(frozen=True)
class Measurement:
    tokens: torch.Tensor
    seconds: float  # a picture, as all below
    processor_seconds: float


WAYS = (Way("without cache", 1, False), Way("with cache", 1, True), Way("with cache", BATCH, True))


def texts(n: int) -> list[str]:
    expander = load_expander("grammar")
    classes = expander.classes
    return [expander.expand(classes[i % len(classes)], 0, i // len(classes), 1)[0].text for i in range(n)]


def load(reference: str) -> tuple[Txt2ImgMHNPipeline, str]:
    """The pipeline, and what to call it."""
    try:
        source = find(reference)
    except ValueError as error:
        sys.exit(str(error))
    if not source.draws_tokens:
        sys.exit(f"model {reference!r} is a {source.pipeline}, which has no key-value cache; give one like mhn-ucm")
    with quiet():
        pipeline = Txt2ImgMHNPipeline.from_pretrained(source.folder, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, f"`{source.name}`"


def random_pipeline() -> tuple[Txt2ImgMHNPipeline, str]:
    """The preset `paper`; the time does not depend on what the weights are."""
    from diffusers import VQModel

    from terrasynth.training.families.caption_tokenizer import train_tokenizer
    from terrasynth.training.families.hopfield import HopfieldSettings
    from terrasynth.training.families.vq import VQSettings
    from terrasynth.training.presets import load_preset

    torch.manual_seed(0)
    settings, vq = HopfieldSettings.model_validate(load_preset("paper").model), VQSettings()
    tokenizer = train_tokenizer(texts(512), settings.vocabulary, settings.tokens)
    depth = len(vq.channels)
    patch = 2 ** (depth - 1)
    known = inspect.signature(HopfieldTransformer.__init__).parameters
    options = {name: value for name, value in settings.model_dump().items() if name in known}
    transformer = HopfieldTransformer(
        text_vocabulary=len(tokenizer), codes=vq.codes, text_length=settings.tokens, side=settings.size // patch,
        patch=patch, **options,
    )
    vqvae = VQModel(
        block_out_channels=list(vq.channels), down_block_types=["DownEncoderBlock2D"] * depth,
        up_block_types=["UpDecoderBlock2D"] * depth, layers_per_block=vq.layers_per_block,
        latent_channels=vq.code_width, vq_embed_dim=vq.code_width, num_vq_embeddings=vq.codes,
        norm_num_groups=vq.groups, mid_block_add_attention=False, lookup_from_codebook=True, scaling_factor=1.0,
    )
    with quiet():
        return (Txt2ImgMHNPipeline(vqvae.eval(), transformer.eval(), tokenizer),
                "the preset `paper` with random weights")


def draw(pipeline: Txt2ImgMHNPipeline, case: Case, way: Way, prompts: list[str], first_seed: int) -> Measurement:
    seeds = [torch.Generator().manual_seed(first_seed + i) for i in range(way.batch)]
    cast = torch.autocast("cpu", torch.bfloat16) if case.dtype == "bfloat16" else nullcontext()
    start, processor = time.perf_counter(), time.process_time()
    # Not inference_mode: there autocast forgets the weights it has cast, and casts all of them for every token.
    with torch.no_grad(), cast:
        tokens = pipeline(prompts[: way.batch], guidance_scale=case.guidance, generator=seeds, output_type="latent",
                          use_cache=way.use_cache).images
        pipeline.image_processor.postprocess(pipeline.decode_tokens(tokens), output_type="np")
    return Measurement(tokens, (time.perf_counter() - start) / way.batch,
                       (time.process_time() - processor) / way.batch)


def measure(
    pipeline: Txt2ImgMHNPipeline, cases: list[Case], rounds: int
) -> tuple[dict[tuple[Case, Way], list[Measurement]], dict[Case, tuple[int, int]]]:
    """All measurements by case and way, and by case how many of how many pictures were the same tokens uncached."""
    prompts = texts(BATCH)
    for case in cases:
        for way in WAYS[:2]:  # the first call of a kind is slower, in bfloat16 by a factor
            draw(pipeline, case, way, prompts, 0)
    found: dict[tuple[Case, Way], list[Measurement]] = {(case, way): [] for case in cases for way in WAYS}
    equal = dict.fromkeys(cases, (0, 0))
    for number in range(rounds):
        for case in cases:
            drawn = [draw(pipeline, case, way, prompts, number * BATCH) for way in WAYS]
            for way, measurement in zip(WAYS, drawn, strict=True):
                found[case, way].append(measurement)
                print(f"round {number + 1}, {case.dtype}, guidance {case.guidance:g}, {way.name}, {way.batch} at a "
                      f"time: {measurement.seconds:.3f} s a picture", file=sys.stderr, flush=True)
            same = sum(torch.equal(drawn[0].tokens[0], each.tokens[0]) for each in drawn[1:])
            equal[case] = (equal[case][0] + same, equal[case][1] + len(drawn) - 1)
    return found, equal


def rows_of(found: dict[tuple[Case, Way], list[Measurement]]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for (case, way), measurements in found.items():
        seconds = statistics.median(each.seconds for each in measurements)
        processor = statistics.median(each.processor_seconds for each in measurements)
        origin = found[case, WAYS[0]]
        rows.append({
            "dtype": case.dtype, "guidance": case.guidance, "cache": way.use_cache, "batch": way.batch,
            "seconds": seconds, "pictures_per_second": 1 / seconds,
            "ratio": statistics.median(each.seconds for each in origin) / seconds,
            "processor_seconds": processor,
            "processor_ratio": statistics.median(each.processor_seconds for each in origin) / processor,
            "rounds": [each.seconds for each in measurements],
        })
    return rows


def table(rows: list[dict[str, object]]) -> list[str]:
    lines = ["| precision | guidance | key-value cache | pictures at a time | s a picture | pictures/s | times as fast "
             "| in processor time |", "|---|---|---|---|---|---|---|---|"]
    return lines + [
        f"| {row['dtype']} | {row['guidance']:g} | {'yes' if row['cache'] else 'no'} | {row['batch']} | "
        f"{row['seconds']:.3f} | {row['pictures_per_second']:.3f} | {row['ratio']:.1f} | {row['processor_ratio']:.1f} |"
        for row in rows
    ]


def processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    import platform

    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mhn-ucm", help="an embedded name, a folder or a Hub id")
    parser.add_argument("--paper", action="store_true", help="random weights in the paper's setting, no model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes by itself where not given")
    parser.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"), default=["float32"],
                        help="bfloat16 is autocast, as runs use it on a CPU")
    parser.add_argument("--guidance", nargs="+", type=float, default=[3.0, 1.0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least one is needed")
    if options.threads:
        torch.set_num_threads(options.threads)
    pipeline, name = random_pipeline() if options.paper else load(options.model)
    cases = [Case(dtype, guidance) for dtype in options.dtype for guidance in options.guidance]
    found, equal = measure(pipeline, cases, options.rounds)
    rows = rows_of(found)
    machine = {"processor": processor_name(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    lines = [
        f"{name}; {machine['processor']}, {machine['threads']} threads, torch {machine['torch']}; medians of "
        f"{options.rounds} round{'s' if options.rounds > 1 else ''} (`python tests/benchmarks/mhn_cache.py`). "
        "Times as fast: than one picture at a time "
        "without cache.", "", *table(rows), "",
        "Pictures whose tokens are those drawn without cache: "
        + ", ".join(f"{same} of {n} ({case.dtype}, guidance {case.guidance:g})" for case, (same, n) in equal.items())
        + ".",
    ]
    print("\n".join(lines))
    if options.json:
        tokens = [{"dtype": case.dtype, "guidance": case.guidance, "equal": same, "n": n}
                  for case, (same, n) in equal.items()]
        report = {"model": name, "machine": machine, "rounds": options.rounds, "rows": rows, "tokens": tokens,
                  "lines": lines}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(same == n for case, (same, n) in equal.items() if case.dtype == "float32") else 1


if __name__ == "__main__":
    sys.exit(main())
