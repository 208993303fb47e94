"""What figures on `val` are called where people read them; records keep their keys."""

from __future__ import annotations

from collections.abc import Mapping

COUNTS: Mapping[str, str] = {"loss": "loss_n"}
"""Figures with a number of images of their own; that of all others is `n`."""

UNSAID = frozenset({"score", "n", *COUNTS.values()})
"""What only chooses a checkpoint, and the numbers of images, which stand behind the others."""

WORDS: Mapping[str, str] = {
    "loss": "loss",
    "clip_score": "agreement with the caption, mean cosine",
    "clip_null": "with the caption of another image",
    "accuracy": "scene accuracy",
    "nll": "negative log-likelihood of the class in nats",
    "image_to_text_r1": "recall at 1 of texts by image",
    "text_to_image_r1": "recall at 1 of images by text",
    "margin": "mean cosine of a pair above that of all",
    "psnr_db": "PSNR in dB",
    "perceptual": "perceptual distance",
    "fine_db": "fine half of the spectrum against that of real images in dB",
    "grid_db": "peak of the spectrum at 4 px in dB",
    "told_apart": "share told apart from real images",
    "perplexity": "perplexity of the codes",
    "codes_used": "codes used",
    "cider": "CIDEr-D of one beam",
    "mse": "mean squared error of the latents",
    "unexplained": "unexplained share of the latents' variance",
    "roughness": "roughness of the latents against real ones",
    "cross_entropy": "cross-entropy in nats a token",
    "psnr_teacher": "PSNR to the teacher in dB",
    "psnr_real": "PSNR to real images in dB",
    "mean_iou": "mean intersection over union",
    "latents_mse": "mean squared error of the latents",
    **{f"v_{level}": f"loss at step {level} of the noise" for level in range(100, 1000, 100)},
}


def compared_in_words(figures: Mapping[str, float], before: Mapping[str, float], real: Mapping[str, float]
                      ) -> list[str]:
    """Figures on `val` as "name: value before, value after, value of real images", in their order.

    Args:
        figures: As `Outcome.figures` has them, after a training.
        before: The same before its first step.
        real: The same of the real images of `val`, where a figure is one of images.

    Example:
        >>> from terrasynth.training.running.figures import compared_in_words
        >>> compared_in_words({"loss": 0.25, "loss_n": 12.0, "n": 6.0, "accuracy": 0.5}, {"loss": 0.5, "accuracy": 0.0},
        ...                   {"accuracy": 1.0})
        ['loss: 0.5 before, 0.25 after (n = 12)', 'scene accuracy: 0 before, 0.5 after, 1 of real images (n = 6)']
    """
    found = []
    for key in (key for key in figures if key not in UNSAID):
        beside = (("before", before), ("after", figures), ("of real images", real))
        shown = ", ".join(f"{of[key]:.4g} {when}" for when, of in beside if key in of)
        count = figures.get(COUNTS.get(key, "n"))
        found.append(f"{_word(key)}: {shown}" + ("" if count is None else f" (n = {count:.0f})"))
    return found


def figures_in_words(figures: Mapping[str, float]) -> list[str]:
    """Figures on `val` as "name value", in their order, with the number of images behind those that share it.

    Args:
        figures: As `Outcome.figures` has them.

    Example:
        >>> from terrasynth.training.running.figures import figures_in_words
        >>> figures_in_words({"loss": 0.25, "loss_n": 12.0, "n": 6.0, "clip_score": 0.5, "score": 0.5})
        ['loss 0.25 (n = 12)', 'agreement with the caption, mean cosine 0.5 (n = 6)']
    """
    shown = [key for key in figures if key not in UNSAID]
    counts = [figures.get(COUNTS.get(key, "n")) for key in shown]
    found = []
    for place, (key, count) in enumerate(zip(shown, counts, strict=True)):
        last = place + 1 == len(shown) or counts[place + 1] != count
        behind = f" (n = {count:.0f})" if last and count is not None else ""
        found.append(f"{_word(key)} {figures[key]:.4g}{behind}")
    return found


def _word(key: str) -> str:
    return WORDS.get(key, key.replace("iou_", "of ", 1).replace("_", " "))  # those of classes follow their mean
