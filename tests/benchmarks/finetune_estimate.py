"""What tuning published models would take, counted on networks of their sizes without weights and without a GPU.

    python tests/benchmarks/finetune_estimate.py --peak 312 --utilisation 0.25

Operations are counted by torch on its "meta" device; a LoRA step is the forward pass and the gradient of its inputs
(twice the forward pass), a step of all weights three times. Activations are the distinct tensors that the forward pass
of one picture keeps for the backward one, in bfloat16, attention as a fused kernel keeps it. Time is operations over
peak and utilisation, both assumptions. Nothing here was measured on a GPU.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, PixArtTransformer2DModel, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from terrasynth.training.tuning.families.pixart import PixArtSigma
from terrasynth.training.tuning.families.sd import StableDiffusion
from terrasynth.training.tuning.lora import add_adapter
from terrasynth.training.tuning.settings import LoraSettings

META = torch.device("meta")


def networks():
    """Name, network, arguments of a call for one picture, its side in pixels, layers with adapters."""
    with META:
        sd = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)  # its defaults are those of 1.x
        yield "SD 1.5", sd, (torch.empty(1, 4, 64, 64), torch.empty(1), torch.empty(1, 77, 768)), {}, 512, \
            StableDiffusion.lora_targets
        xl = UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), cross_attention_dim=2048,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816)
        told = {"added_cond_kwargs": {"text_embeds": torch.empty(1, 1280), "time_ids": torch.empty(1, 6)}}
        yield "SDXL", xl, (torch.empty(1, 4, 128, 128), torch.empty(1), torch.empty(1, 77, 2048)), told, 1024, \
            StableDiffusion.lora_targets
        pixart = PixArtTransformer2DModel(sample_size=128, out_channels=8, caption_channels=4096,
                                          cross_attention_dim=1152, use_additional_conditions=False)
        told = {"timestep": torch.empty(1), "added_cond_kwargs": {"resolution": None, "aspect_ratio": None}}
        yield "PixArt-Sigma", pixart, (torch.empty(1, 4, 128, 128), torch.empty(1, 300, 4096)), told, 1024, \
            PixArtSigma.lora_targets


def kept_bytes(network, arguments, options):
    """Bytes of distinct tensors that one forward pass keeps, weights left out."""
    seen = {}
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}

    def keep(tensor):
        place = tensor.untyped_storage()._cdata
        if place not in own:
            seen[place] = (tensor, tensor.numel() * tensor.element_size())  # held, so that no storage comes back
        return tensor

    def fused(q, k, v, *_, **__):
        return Fused.apply(q, k, v)

    plain, F.scaled_dot_product_attention = F.scaled_dot_product_attention, fused
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(*arguments, **options)
    finally:
        F.scaled_dot_product_attention = plain
    return sum(size for _, size in seen.values())


class Fused(torch.autograd.Function):
    """Attention that keeps its inputs and its output alone."""

    @staticmethod
    def forward(ctx, q, k, v):
        out = torch.empty(*q.shape[:-1], v.shape[-1], device=q.device, dtype=q.dtype)
        ctx.save_for_backward(q, k, v, out)
        return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peak", type=float, default=312, help="TFLOP/s of the GPU in bfloat16 (A100: 312)")
    parser.add_argument("--utilisation", type=float, default=0.25, help="share of it that a step reaches")
    parser.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
    reached = options.peak * options.utilisation
    print("| base | side | weights | LoRA weights | TFLOP forward | activations | LoRA pictures/s | full pictures/s |")
    print("|---" * 8 + "|")
    for name, network, arguments, told, side, targets in networks():
        network.eval().requires_grad_(False)
        weights = sum(parameter.numel() for parameter in network.parameters())
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(*arguments, **told)
        forward = counter.get_total_flops() / 1e12
        with META:
            adapter = add_adapter(network, LoraSettings(rank=options.rank), targets, name)
        count = sum(parameter.numel() for _, parameter in adapter.parameters())
        network.to(torch.bfloat16)
        half = [value.bfloat16() for value in arguments]
        told = {key: {k: v if v is None else v.bfloat16() for k, v in value.items()} if isinstance(value, dict)
                else value for key, value in told.items()}
        kept = kept_bytes(network, half, told)
        print(f"| {name} | {side} | {weights / 1e6:.0f} M | {count / 1e6:.1f} M | {forward:.2f} | "
              f"{kept / 2**30:.1f} GiB | {reached / forward / 2:.0f} | {reached / forward / 3:.0f} |", flush=True)
    with META:
        vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
                            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            vae.encode(torch.empty(1, 3, 512, 512))
    encode = counter.get_total_flops() / 1e12
    print(f"autoencoder of SD: {encode:.2f} TFLOP to encode 512 px, {reached / encode:.0f} pictures/s")


if __name__ == "__main__":
    main()
