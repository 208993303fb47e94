"""What the card of the Hopfield prototype generator says beyond the cards of the other models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terrasynth.training.release.mhn_figures import PLOT

if TYPE_CHECKING:
    from terrasynth.eval import Evaluation


def mhn_sections(figures: Mapping[str, Any], evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Both generators side by side, guidance, codebook, speed and ablations; each from what was measured."""
    codes = next(reversed(figures["vqgan-ucm"].values()))
    sections = [f"\nUse of the image tokens, perplexity of the codebook: {codes['perplexity']:.0f} of "
                f"{codes['codes']:.0f} ({codes['perplexity_share']:.0%}), n = {codes['n']} images."]
    sections += _side_by_side(figures, evaluations) + _guidance(figures["guidance"])
    if figures["benchmarks"]:
        sections += ["\n## Speed", *(line for each in figures["benchmarks"] for line in ("", *each["lines"]))]
    return sections + _ablations(figures["ablations"])


def _side_by_side(figures: Mapping[str, Any], evaluations: Mapping[str, Evaluation]) -> list[str]:
    names = list(evaluations)
    zero_shot = figures["zero_shot"]
    real = zero_shot["real train pictures"]
    rows: list[tuple[str, list[str], str]] = [
        ("scene accuracy (`scene-ucm`)", [str(evaluations[n].recognition.accuracy) for n in names],
         f"real {evaluations[names[0]].recognition.ceiling}"),
        ("CLIP score (`clip-ucm-b`)", [str(evaluations[n].alignment.score) for n in names],
         f"real {evaluations[names[0]].alignment.ceiling}"),
        ("CLIP score, texts of other classes", [str(evaluations[n].alignment.null) for n in names], ""),
    ]
    distances = [evaluations[n].frechet for n in names]
    first = distances[0]
    if first is not None and first.floor is not None:
        rows.append((f"Frechet distance ({first.dim} features of `scene-ucm`)",
                     [f"{d.distance:.2f} (n = {d.n} against {d.n_reference})" if d else "" for d in distances],
                     f"real against real {first.floor.mean:.2f} (n = {first.floor.n})"))
    rows.append(("zero-shot accuracy", [_zero_shot(zero_shot[n]) for n in names],
                 f"trained on real images {_zero_shot(real)}"))
    lines = [f"| {what} | " + " | ".join(cells) + f" | {ceiling} |" for what, cells, ceiling in rows]
    return [
        "\n## Beside the latent diffusion model\n",
        "The same prompts, seeds and judges, each at the guidance of its card:\n",
        "| | " + " | ".join(f"`{n}`" for n in names) + " | ceiling or floor |", "|---" * (len(names) + 2) + "|", *lines,
        f"\nZero-shot accuracy: a classifier trained on {real['n_train']} images ({real['steps']} steps, seed "
        f"{real['seed']}) of one source, tested on {real['n_test']} real images.",
    ]


def _zero_shot(result: Mapping[str, Any]) -> str:
    accuracy = result["accuracy"]
    return f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}] (n = {accuracy['n']})"


def _guidance(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"| {row['scale']:g} | {row['clip_score']['value']:.3f} [{row['clip_score']['low']:.3f}, "
        f"{row['clip_score']['high']:.3f}] | {row['scene_accuracy']['value']:.3f} | "
        + (f"{row['frechet']:.2f} |" if row["frechet"] is not None else "|")
        for row in rows
    ]
    return ["\n## Guidance\n",
            f"The same prompts and seeds at every scale, n = {rows[0]['clip_score']['n']} each:\n",
            "| scale | CLIP score (`clip-ucm-b`) | scene accuracy | Frechet distance |", "|---|---|---|---|", *lines,
            f"\n![CLIP score and scene accuracy by guidance scale]({PLOT})"]


def _ablations(result: Mapping[str, Any]) -> list[str]:
    rows = result["rows"]
    base, settings = rows[0], result["base"]
    lines = [f"| {row['name']} | {row['cross_entropy']:.3f} | {row['cross_entropy'] - base['cross_entropy']:+.3f} | "
             f"{row['minutes'] / base['minutes']:.2f} |" for row in rows]
    return [
        "\n## Ablations\n",
        f"One option changed at a time in a small network ({settings['blocks']} blocks, width {settings['width']}, "
        f"{settings['prototypes']} prototypes), {base['steps']} steps of {result['loop']['batch_size']} images, seed "
        f"{result['loop']['seed']}; cross-entropy in nats an image token on the {result['n']} images of "
        f"`{result['split']}`. One seed: differences of a hundredth may be chance.\n",
        "| | cross-entropy | difference | time |", "|---|---|---|---|", *lines,
    ]
