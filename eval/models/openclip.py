"""Vision transformers as OpenCLIP saves them (RemoteCLIP, GeoRSCLIP, LAION, ...), turned into `CLIPModel`.

The two libraries have the same network under other names: OpenCLIP keeps query, key and value of a layer in one matrix,
and multiplies with its projections from the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import TYPE_CHECKING, Any, Literal

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.checkpoints import StateDict, check_shapes
from terrasynth.eval.models.references import OPEN_CLIP_CONFIG

if TYPE_CHECKING:
    import torch
    from transformers import CLIPConfig, CLIPModel

_PLAIN = "only CLIP's own vision and text transformers are"
Activation = Literal["gelu", "quick_gelu"]

_VISION = {"image_size", "layers", "width", "head_width", "patch_size", "mlp_ratio"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
_NO_EFFECT: Mapping[str, object] = {
    # Values under which a key changes nothing about the network, None for any value at all.
    "patch_dropout": None, "output_tokens": None, "attn_pooler_queries": None, "attn_pooler_heads": None,
    "eos_id": None, "pad_id": 0, "attentional_pool": False, "no_ln_pre": False, "final_ln_after_pool": False,
    "pos_embed_type": "learnable", "embed_cls": False, "no_causal_mask": False, "proj_bias": False,
    "proj_type": "linear",
}
_DEFAULT_POOL = {"vision_cfg": "tok", "text_cfg": "argmax"}
_HEAD_WIDTHS: Mapping[int, int] = {
    **dict.fromkeys((384, 512, 768, 896, 1024), 64), 1280: 80, 1408: 88, 1664: 104, 1792: 112,
}
"""Width of an image transformer in OpenCLIP's list of models -> width of its heads; those of texts have 64."""

_LAYER = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TOP = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_TOWERS = {"visual.transformer.resblocks.": "vision_model", "transformer.resblocks.": "text_model"}
_CONSTANTS = {"attn_mask", "input_resolution", "context_length", "vocab_size"}


def convert_openclip(state: StateDict, config: Mapping[str, Any]) -> CLIPModel:
    """Build a `CLIPModel` with OpenCLIP's weights.

    Args:
        state: OpenCLIP's state dictionary; the layout with the text side under `text.` is taken too.
        config: The `model_cfg` of an `open_clip_config.json`, or what `infer_config` gives.

    Returns:
        The model in `float32`, in evaluation mode.

    Raises:
        InputError: An architecture that is no plain CLIP vision transformer, or weights of another one.
    """
    import torch
    from transformers import CLIPModel

    with torch.random.fork_rng(devices=[]):  # the random start is overwritten, and the caller's numbers stay
        model = CLIPModel(clip_config(config))
    renamed = dict(_renamed(state))
    check_shapes(renamed, model.state_dict(), "this CLIP")
    model.load_state_dict({name: tensor.float() for name, tensor in renamed.items()})
    converted: CLIPModel = model.eval()
    return converted


def clip_config(config: Mapping[str, Any]) -> CLIPConfig:
    """The `transformers` configuration of an OpenCLIP `model_cfg`.

    Raises:
        InputError: It asks for something that `CLIPModel` is not.
    """
    from transformers import CLIPConfig

    if unknown := sorted(config.keys() - {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text"}):
        raise InputError(f"OpenCLIP configuration: {unknown[0]!r} is not supported; {_PLAIN}")
    vision, text = (_tower(config, name, known) for name, known in (("vision_cfg", _VISION), ("text_cfg", _TEXT)))
    if isinstance(vision.get("layers"), list):
        raise InputError(f"OpenCLIP configuration: layers {vision['layers']} make a ResNet; {_PLAIN}")
    size = vision.get("image_size", 224)
    if isinstance(size, list):
        if len(set(size)) != 1:
            raise InputError(f"OpenCLIP configuration: image_size {size} is no square; {_PLAIN}")
        size = size[0]
    vocabulary = int(text.get("vocab_size", 49408))
    width, text_width = int(vision.get("width", 768)), int(text.get("width", 512))
    activation = "quick_gelu" if config.get("quick_gelu") else "gelu"
    return CLIPConfig(
        vision_config={
            "hidden_size": width, "intermediate_size": int(width * vision.get("mlp_ratio", 4)),
            "num_hidden_layers": vision.get("layers", 12), "image_size": size,
            "num_attention_heads": width // vision.get("head_width", 64), "patch_size": vision.get("patch_size", 16),
            "hidden_act": activation, "projection_dim": config["embed_dim"],
        },
        text_config={
            "hidden_size": text_width, "intermediate_size": int(text_width * text.get("mlp_ratio", 4)),
            "num_hidden_layers": text.get("layers", 12), "num_attention_heads": text.get("heads", 8),
            "max_position_embeddings": text.get("context_length", 77), "vocab_size": vocabulary,
            "hidden_act": activation, "projection_dim": config["embed_dim"],
            # OpenCLIP pools where the token id is highest, and that is the end of the text.
            "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1,
        },
        projection_dim=config["embed_dim"],
    )


def infer_config(state: StateDict, activation: Activation) -> dict[str, Any]:
    """Read the architecture off the shapes, for checkpoints that come without a configuration.

    Args:
        activation: What no shape tells: "quick_gelu" in models that started from OpenAI's weights, or "gelu".

    Returns:
        A `model_cfg`.

    Raises:
        InputError: The tensors are not those of a CLIP vision transformer, or none of OpenCLIP's list is as wide.
    """
    flat = dict(_flat(state))
    needed = ("visual.conv1.weight", "visual.positional_embedding", "visual.proj", "token_embedding.weight",
              "positional_embedding")
    if missing := [name for name in needed if name not in flat]:
        raise InputError(f"checkpoint: no tensor {missing[0]!r}, which every CLIP vision transformer of OpenCLIP has; "
                         "ResNet and timm towers are not supported")
    width, _, patch, _ = flat["visual.conv1.weight"].shape
    if width not in _HEAD_WIDTHS:
        raise InputError(f"checkpoint: an image transformer of width {width} is none of OpenCLIP's list, so nothing "
                         f"tells its number of heads; give its {OPEN_CLIP_CONFIG}")
    context, text_width = flat["positional_embedding"].shape
    side = isqrt(len(flat["visual.positional_embedding"]) - 1)
    vision, text = (_blocks(flat, prefix) for prefix in _TOWERS)
    return {
        "embed_dim": flat["visual.proj"].shape[1], "quick_gelu": activation == "quick_gelu",
        "vision_cfg": {"image_size": side * patch, "width": width, "head_width": _HEAD_WIDTHS[width],
                       "patch_size": patch, **vision},
        "text_cfg": {"context_length": context, "vocab_size": len(flat["token_embedding.weight"]), "width": text_width,
                     "heads": text_width // 64, **text},
    }


def _tower(config: Mapping[str, Any], name: str, known: set[str]) -> dict[str, Any]:
    tower: dict[str, Any] = dict(config[name])
    for key in sorted(tower.keys() - known, key=lambda key: (not key.endswith("model_name"), key)):
        value = tower[key]
        plain = value is None or (_DEFAULT_POOL[name] == value if key == "pool_type" else _has_no_effect(key, value))
        if not plain:
            raise InputError(f"OpenCLIP configuration: {name} with {key} {value!r} is not supported; {_PLAIN}")
    return tower


def _has_no_effect(key: str, value: object) -> bool:
    return key in _NO_EFFECT and (_NO_EFFECT[key] is None or _NO_EFFECT[key] == value)


def _flat(state: StateDict) -> list[tuple[str, torch.Tensor]]:
    named = [(name.removeprefix("text."), tensor) for name, tensor in state.items()]
    return [(name, tensor) for name, tensor in named if name not in _CONSTANTS]


def _blocks(state: StateDict, prefix: str) -> dict[str, float]:
    """Number of layers, and how many times wider their inner part is."""
    layers = {int(name[len(prefix):].split(".")[0]) for name in state if name.startswith(prefix)}
    inner = state.get(f"{prefix}0.mlp.c_fc.weight")
    if inner is None:
        raise InputError(f"checkpoint: no tensor {prefix + '0.mlp.c_fc.weight'!r}; {_PLAIN} supported")
    # Half a row more, as the product with the width is cut to a whole number.
    return {"layers": len(layers), "mlp_ratio": (inner.shape[0] + 0.5) / inner.shape[1]}


def _renamed(state: StateDict) -> list[tuple[str, torch.Tensor]]:
    found: list[tuple[str, torch.Tensor]] = []
    for name, tensor in _flat(state):
        tower = next((prefix for prefix in _TOWERS if name.startswith(prefix)), None)
        if name in _TRANSPOSED:
            found.append((_TRANSPOSED[name], tensor.T))
        elif tower is None:
            found.append((_TOP.get(name, name), tensor))
        else:
            number, part = name[len(tower):].split(".", 1)
            found += _layer(f"{_TOWERS[tower]}.encoder.layers.{number}", part, tensor)
    return found


def _layer(layer: str, part: str, tensor: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    if part in ("attn.in_proj_weight", "attn.in_proj_bias"):
        kind = part.rpartition("_")[2]
        return [(f"{layer}.self_attn.{role}_proj.{kind}", piece)
                for role, piece in zip("qkv", tensor.chunk(3), strict=True)]
    module, _, kind = part.rpartition(".")
    return [(f"{layer}.{_LAYER.get(module, module)}.{kind}", tensor)]
