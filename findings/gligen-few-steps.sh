#!/usr/bin/env bash
# StableDiffusionGLIGENPipeline looks at its boxes in the first int(0.3 * num_inference_steps) steps. With one, two or
# three steps, as distilled weights are drawn with, that is none: every set of boxes gives the same image, and nothing is
# said. In four steps the same boxes change the image.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check diffusers==0.42.1 transformers==5.23.0 \
  torch==2.13.0
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=""
cat >"$work/boxes.py" <<'PYTHON_CODE'
import sys
import warnings

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionGLIGENPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

diffusers.utils.logging.set_verbosity_error()
letters = [*"abcdefghijklmnopqrstuvwxyz"]
words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
tokenizer = CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[], model_max_length=16)
torch.manual_seed(0)
text = CLIPTextModel(CLIPTextConfig(vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                    num_attention_heads=2, max_position_embeddings=16, bos_token_id=len(words) - 2,
                                    eos_token_id=len(words) - 1)).eval()
vae = AutoencoderKL(block_out_channels=(8, 8), down_block_types=["DownEncoderBlock2D"] * 2,
                    up_block_types=["UpDecoderBlock2D"] * 2, norm_num_groups=4, sample_size=16).eval()
unet = UNet2DConditionModel(sample_size=8, block_out_channels=(16, 16), layers_per_block=1, cross_attention_dim=16,
                            norm_num_groups=4, attention_head_dim=2, attention_type="gated",
                            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")).eval()
for name, weight in unet.named_parameters():
    if name.endswith(("alpha_attn", "alpha_dense")):  # random weights would hardly listen to boxes
        torch.nn.init.constant_(weight, 2.0)
pipeline = StableDiffusionGLIGENPipeline(vae, text, tokenizer, unet, DDIMScheduler(), None, None,
                                         requires_safety_checker=False)
pipeline.set_progress_bar_config(disable=True)


def drawn(steps, boxes):
    return torch.as_tensor(pipeline(
        "a", num_inference_steps=steps, guidance_scale=1.0, gligen_phrases=["b"] * len(boxes), gligen_boxes=boxes,
        generator=torch.Generator().manual_seed(1), output_type="pt").images)


print(f"diffusers {diffusers.__version__}, torch {torch.__version__}, StableDiffusionGLIGENPipeline")
left, right = [[0.0, 0.0, 0.4, 0.4]], [[0.5, 0.5, 1.0, 1.0], [0.1, 0.6, 0.3, 0.9]]
seen = {}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for steps in (1, 2, 3, 4, 8):
        seen[steps] = float((drawn(steps, left) - drawn(steps, right)).abs().max())
        print(f"{steps} steps: other boxes change the image by at most {seen[steps]:.6f} (expected: more than 0)")
told = [str(each.message)[:80] for each in said if "box" in str(each.message).lower()]
print(f"warnings that name boxes: {told}")
as_described = all(seen[steps] == 0 for steps in (1, 2, 3)) and seen[4] > 0 and seen[8] > 0 and not told
sys.exit(0 if as_described else 1)
PYTHON_CODE
"$work/venv/bin/python" "$work/boxes.py"
