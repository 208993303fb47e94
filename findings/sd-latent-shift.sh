#!/usr/bin/env bash
# An autoencoder of diffusers says in its config how latents are brought to its range: scaling_factor and shift_factor,
# or latents_mean and latents_std. StableDiffusionPipeline applies the first and none of the others, and says nothing:
# an autoencoder that has them is taken by `pipeline.vae = ...`, by `from_pretrained(..., vae=...)` or from a folder, and
# every image is decoded from latents that are off by the shift.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check diffusers==0.42.1 transformers==5.23.0 \
  torch==2.13.0
export HF_HOME="$work/cache" HF_HUB_OFFLINE=1 CUDA_VISIBLE_DEVICES=""
cat >"$work/shift.py" <<'PYTHON_CODE'
import sys

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel


def autoencoder(**said):
    torch.manual_seed(0)
    return AutoencoderKL(block_out_channels=(8, 8), down_block_types=["DownEncoderBlock2D"] * 2,
                         up_block_types=["UpDecoderBlock2D"] * 2, norm_num_groups=4, sample_size=16, **said).eval()


torch.manual_seed(1)
unet = UNet2DConditionModel(sample_size=8, block_out_channels=(8, 8), layers_per_block=1, cross_attention_dim=8,
                            norm_num_groups=4, attention_head_dim=2,
                            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")).eval()
text = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(2))


def drawn(vae, output):
    pipeline = StableDiffusionPipeline(vae, None, None, unet, DDIMScheduler(), None, None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(prompt_embeds=text, guidance_scale=1.0, num_inference_steps=2, output_type=output,
                    generator=torch.Generator().manual_seed(3)).images


plain = autoencoder()
image = torch.as_tensor(drawn(plain, "pt"))
print(f"diffusers {diffusers.__version__}, torch {torch.__version__}, StableDiffusionPipeline")
as_described = True
for said in ({"shift_factor": 0.5}, {"latents_mean": [0.5] * 4, "latents_std": [2.0] * 4}):
    other = autoencoder(**said)
    assert all(other.config[name] == value for name, value in said.items())
    latents, scale = drawn(other, "latent"), other.config.scaling_factor
    meant = latents / scale + said.get("shift_factor", 0.0)
    if "latents_mean" in said:  # as StableDiffusionXLPipeline has it
        meant = latents * 2.0 / scale + 0.5
    with torch.no_grad():
        expected = (other.decode(meant).sample / 2 + 0.5).clamp(0, 1)
    seen = torch.as_tensor(drawn(other, "pt"))
    same, off = float((seen - image).abs().max()), float((seen - expected).abs().max())
    print(f"{said}: differs from the image without it by {same:.6f} (expected: more than 0), "
          f"from what the config means by {off:.6f} (expected: 0)")
    as_described &= same == 0 and off > 1e-3
sys.exit(0 if as_described else 1)
PYTHON_CODE
"$work/venv/bin/python" "$work/shift.py"
