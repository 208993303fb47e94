"""A small pipeline with a safety checker that withholds all pictures, or those beyond a threshold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.tiny_sd import tiny_sd

ALL, NONE = -2.0, 2.0
"""Thresholds of a cosine that every picture, and none, lies above."""


def tiny_checked(folder: Path, threshold: float = ALL) -> Path:
    """Write the pipeline of `tiny_sd` with a checker; returns `folder`."""
    from diffusers import StableDiffusionPipeline

    plain = StableDiffusionPipeline.from_pretrained(tiny_sd(folder.with_name(f"{folder.name}-plain")))
    checker, processor = _checker()
    checker.concept_embeds_weights.fill_(NONE)
    checker.concept_embeds_weights[0] = threshold
    StableDiffusionPipeline(**{**plain.components, "safety_checker": checker, "feature_extractor": processor}
                            ).save_pretrained(folder)
    for path in folder.rglob("*.json"):  # where a part came from would be part of a run's identity, and so of its seeds
        content = json.loads(path.read_text())
        if content.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(content, indent=2))
    return folder


def cosines(images: np.ndarray) -> np.ndarray:
    """What the checker compares with its threshold, of pictures uint8 (N, H, W, 3)."""
    import torch

    checker, processor = _checker()
    with torch.no_grad():
        seen = checker.visual_projection(
            checker.vision_model(processor(list(images), return_tensors="pt").pixel_values).pooler_output)
    return torch.nn.functional.cosine_similarity(seen, checker.concept_embeds[:1]).numpy()


def _checker():
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessorPil

    part = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        checker = StableDiffusionSafetyChecker(CLIPConfig(
            vision_config={**part, "image_size": 32, "patch_size": 16}, text_config=part, projection_dim=16)).eval()
        checker.concept_embeds.normal_()
        checker.special_care_embeds_weights.fill_(NONE)
    return checker, CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
