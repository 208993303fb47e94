"""The card of a captioner: what it learned from, what it reaches on `val`, and how it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.eval.markdown import Ready, plain
from terrasynth.eval.models.caption_network import CaptionerConfig
from terrasynth.eval.table import Table

if TYPE_CHECKING:
    from terrasynth.training.data.views import Pictures
    from terrasynth.training.running.task import Outcome

CARD = "README.md"


def write_card(folder: Path, splits: Mapping[str, Pictures], outcome: Outcome, seed: int, hardware: str) -> Path:
    """Write `README.md` beside a captioner's weights.

    Args:
        splits: What it learned from and was chosen by.
        outcome: How its training ended.
        seed: Of the training.
        hardware: What it ran on.
    """
    config = CaptionerConfig.from_pretrained(folder)
    size = sum((folder / name).stat().st_size for name in ("config.json", "model.safetensors")) / 2**20
    about = Table(("", ""), (
        ("data", Ready(f"{_counted(config.styles, splits)}; only `train` was trained on")),
        ("image encoder", f"{config.encoder} {config.encoder_identity.get('content', '')}, frozen"),
        ("decoder", f"{config.layers} layers of width {config.width}, {len(config.words)} words"),
        ("hardware", hardware),
        ("training", Ready(f"{outcome.minutes:.1f} minutes, {outcome.steps} steps, best on `val` at step "
                           f"{outcome.best_step}")),
        ("seed", str(seed)),
        ("size", Ready(f"{size:.1f} MiB, half precision, `safetensors`"))))
    found, val = outcome.figures, splits["val"].pairs
    rows = tuple((f"{name} val", f"{found[f'cider_{name}']:.3f}", f"{found[f'bleu4_{name}']:.3f}",
                  str(sum(pair.source == source for pair in val)))
                 for source, name in enumerate(config.styles) if f"cider_{name}" in found)
    figures = Table(("images", "CIDEr-D", "BLEU-4", "n"), rows)
    (folder / CARD).write_text("\n".join([
        "---", "library_name: transformers", "tags: [remote-sensing, terrasynth, image-to-text]", "---", "",
        f"# {plain(folder.resolve().name)}", "", "A captioner: a projection and a decoder over a frozen image encoder.",
        "", about.markdown(), "", "## Figures", "", figures.markdown(), "",
        "One beam, against all captions of an image. The weights were chosen by these figures, so they flatter; "
        "`terrasynth eval captions DATA --captioner FOLDER` measures `test`.", "",
        "## Use", "", "```bash", "terrasynth recaption DIR --captioner FOLDER --out CAPTIONED", "```", "",
    ]), encoding="utf-8")
    return folder / CARD


def _counted(names: Sequence[str], splits: Mapping[str, Pictures]) -> str:
    """Images of each data set, by split."""
    return "; ".join(
        f"{plain(name)}: " + ", ".join(f"{sum(pair.source == source for pair in pictures.pairs)} {split}"
                                for split, pictures in splits.items())
        for source, name in enumerate(names))
