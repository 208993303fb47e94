"""OpenCLIP's files: recognized where a model reference leads to them, or converted into a `transformers` folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.checkpoints import read_state_dict
from terrasynth.eval.models.loading import unusable
from terrasynth.eval.models.openclip import Activation, convert_openclip, infer_config
from terrasynth.eval.models.preprocess import Preprocessor, find_file
from terrasynth.eval.models.references import OPEN_CLIP_CONFIG, ResolvedModel
from terrasynth.permissions import like_new_files

if TYPE_CHECKING:
    from transformers import CLIPModel

WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip.safetensors")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the images that CLIP was trained on: OpenCLIP's own default."""


def find_open_clip(resolved: ResolvedModel) -> Path | None:
    """The `open_clip_config.json` of a model that has nothing else for `transformers` to load; None for any other.

    A Hub repository of both kinds is loaded by `transformers`, unless its `config.json` is that of timm.
    """
    if resolved.local and not (resolved.folder / OPEN_CLIP_CONFIG).is_file():
        return None
    try:
        own = find_file(resolved.location, "config.json", resolved.revision)
        if own is not None and "model_type" in json.loads(own.read_text()):
            weights = not resolved.local or any(resolved.folder.glob("model*.safetensors"))
            return None if weights else resolved.folder / OPEN_CLIP_CONFIG
        return find_file(resolved.location, OPEN_CLIP_CONFIG, resolved.revision)
    except (OSError, ValueError):
        return None  # what cannot be reached or read is for the ordinary way to report


def load_open_clip(resolved: ResolvedModel, config: Path) -> tuple[CLIPModel, Preprocessor, str | None]:
    """Load a folder or Hub repository of OpenCLIP.

    Returns:
        The model, its preprocessing, and the commit where it came from the Hub.

    Raises:
        InputError: Another architecture; missing, pickled, broken or incomplete weights.
    """
    try:
        weights = next((path for name in WEIGHT_FILES
                        if (path := find_file(resolved.location, name, resolved.revision)) is not None), None)
    except OSError as error:
        raise InputError(unusable(resolved, error)) from error
    if weights is None:
        raise InputError(
            f"model {resolved.reference!r}: none of {', '.join(WEIGHT_FILES)}; convert a pickled checkpoint with "
            "terrasynth models convert-openclip"
        )
    model_cfg, preprocess_cfg = read_config(config)
    model = convert_openclip(read_state_dict(weights), model_cfg)
    processor = processor_config(preprocess_cfg, _side(model))
    # The Hub keeps a file under snapshots/COMMIT/.
    commit = None if resolved.local else weights.parent.name
    return model, Preprocessor.from_config(processor, resolved.reference), commit


def read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """`model_cfg` and `preprocess_cfg` of an `open_clip_config.json`; a file with the first alone is taken too.

    Raises:
        InputError: The file cannot be read, or is none of that kind.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"OpenCLIP configuration {str(path)!r} cannot be read: {error}; copy it again") from error
    model = content.get("model_cfg", content) if isinstance(content, dict) else {}
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= model.keys():
        raise InputError(f"OpenCLIP configuration {str(path)!r} lacks embed_dim, vision_cfg or text_cfg; give the "
                         f"{OPEN_CLIP_CONFIG} of the model")
    return model, content.get("preprocess_cfg", {})


def convert_checkpoint(
    checkpoint: Path, out: Path, tokenizer: str, config: Path | None = None, activation: Activation | None = None
) -> Path:
    """Write an OpenCLIP checkpoint as a `CLIPModel` folder with tokenizer and preprocessing.

    Args:
        checkpoint: `.safetensors`, or a state dictionary of `torch.save`.
        out: The folder; created, files of the same names replaced.
        tokenizer: Folder or Hub id of a CLIP tokenizer.
        config: An `open_clip_config.json`; None reads the architecture off the shapes.
        activation: Needed without `config`, and refused beside it.

    Returns:
        `out`.

    Raises:
        InputError: Any of them cannot be used.
    """
    from transformers import CLIPTokenizer

    if (config is None) == (activation is None):
        raise InputError("an OpenCLIP checkpoint needs its configuration, or its activation (gelu, or quick_gelu where "
                         "training started from OpenAI's weights): give one of them")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {str(out)!r} is a file; give a folder")
    state = read_state_dict(checkpoint)
    model_cfg, preprocess_cfg = read_config(config) if config else (infer_config(state, activation or "gelu"), {})
    model = convert_openclip(state, model_cfg)
    try:
        words = CLIPTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        raise InputError(f"tokenizer {tokenizer!r} cannot be loaded; give a folder or Hub id with CLIP's") from error
    text: Any = model.config.text_config
    if len(words) != text.vocab_size:
        raise InputError(f"tokenizer {tokenizer!r} has {len(words)} tokens, and the checkpoint {text.vocab_size}; give "
                         "the one it was trained with")
    model.save_pretrained(out)
    like_new_files(out)
    words.model_max_length = int(text.max_position_embeddings)
    words.save_pretrained(out)
    processor = processor_config(preprocess_cfg, _side(model))
    (out / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    return out


def processor_config(preprocess: Mapping[str, Any], side: int) -> dict[str, Any]:
    """A `preprocessor_config.json` for the `preprocess_cfg` of an OpenCLIP model of `side` px.

    Raises:
        InputError: A way of resizing that is not built here.
    """
    interpolation, mode = preprocess.get("interpolation", "bicubic"), preprocess.get("resize_mode", "shortest")
    filters = {"bicubic": 3, "bilinear": 2}
    square = {"height": side, "width": side}
    sizes: dict[str, dict[str, int]] = {"shortest": {"shortest_edge": side}, "squash": square}
    if interpolation not in filters or mode not in sizes:
        raise InputError(f"OpenCLIP configuration: interpolation {interpolation!r} with resize_mode {mode!r} is not "
                         f"supported; {' or '.join(filters)} with {' or '.join(sizes)} is")
    return {
        "image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": sizes[mode],
        "resample": filters[interpolation], "do_center_crop": mode == "shortest", "crop_size": square,
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_convert_rgb": True,
        "image_mean": list(preprocess.get("mean", MEAN)), "image_std": list(preprocess.get("std", STD)),
    }


def _side(model: CLIPModel) -> int:
    vision: Any = model.config.vision_config
    return int(vision.image_size)
