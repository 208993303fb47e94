"""OpenCLIP's layout written out once more with torch's own attention: a second implementation, tiny, with its files."""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from tests.tiny import tiny_tokenizer

SIDE, PATCH, CONTEXT = 32, 8, 24


class _Block(nn.Module):
    def __init__(self, width, heads, quick):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.quick = quick

    def forward(self, x, mask=None):
        seen = self.ln_1(x)
        x = x + self.attn(seen, seen, seen, attn_mask=mask, need_weights=False)[0]
        inner = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner) if self.quick else F.gelu(inner))


class _Transformer(nn.Module):
    def __init__(self, width, heads, layers, quick):
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, heads, quick) for _ in range(layers))

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class _Visual(nn.Module):
    def __init__(self, width, heads, layers, dim, quick):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = _Transformer(width, heads, layers, quick)
        self.proj = nn.Parameter(torch.randn(width, dim) / width**0.5)

    def forward(self, pixels):
        patches = self.conv1(pixels).flatten(2).mT
        first = self.class_embedding.expand(len(pixels), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        return self.ln_post(self.transformer(x)[:, 0]) @ self.proj


class OpenClip(nn.Module):
    def __init__(self, width, heads, text_width, text_heads, vocabulary, quick):
        super().__init__()
        self.visual = _Visual(width, heads, 2, 40, quick)
        self.transformer = _Transformer(text_width, text_heads, 3, quick)
        self.token_embedding = nn.Embedding(vocabulary, text_width)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, text_width))
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(torch.randn(text_width, 40) / text_width**0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter += 0.05 * torch.randn_like(parameter)

    def encode_text(self, tokens):
        later = torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1)
        x = self.ln_final(self.transformer(self.token_embedding(tokens) + self.positional_embedding, later))
        return x[torch.arange(len(x)), tokens.argmax(1)] @ self.text_projection


def build_open_clip(width=48, heads=3, text_width=32, text_heads=2, quick=False, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return OpenClip(width, heads, text_width, text_heads, len(tiny_tokenizer()), quick).eval()


def open_clip_config(width=48, heads=3, text_width=32, text_heads=2, quick=False):
    return {
        "embed_dim": 40, "quick_gelu": quick,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": width, "head_width": width // heads,
                       "patch_size": PATCH},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": len(tiny_tokenizer()), "width": text_width,
                     "heads": text_heads, "layers": 3},
    }


def open_clip_tokens(texts):
    """As OpenCLIP makes them: zeros behind the end of the text."""
    ids = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        found = tiny_tokenizer()(text).input_ids
        row[: len(found)] = torch.tensor(found)
    return ids


def save_open_clip(folder, model, config, preprocess=None):
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess or {}})
    )
    tiny_tokenizer(CONTEXT).save_pretrained(folder)
    return folder
