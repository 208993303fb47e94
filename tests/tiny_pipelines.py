"""Real pipelines of the kinds that can be tuned, small and with random weights; they draw 16 x 16 pictures."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

from tests.tiny import TEXTS, tiny_tokenizer

SIZE = 16
LATENT_SIDE = 8
TEXT_LENGTH = 24
WIDTH = 16


@contextmanager
def _seeded(seed):
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _clip_config(tokenizer, projection=None):
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=TEXT_LENGTH, projection_dim=projection or WIDTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)


def _vae():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, sample_size=SIZE,
        scaling_factor=0.5)


def _unet(**more):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=LATENT_SIDE, in_channels=4, out_channels=4, block_out_channels=(16, 16), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2, norm_num_groups=4, **more)


def sd(folder: Path, seed: int = 0, prediction: str = "epsilon") -> Path:
    """A `StableDiffusionPipeline`; `prediction` is "epsilon" as in 1.x or "v_prediction" as in 2.x."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
    from transformers import CLIPTextModel

    tokenizer = tiny_tokenizer(TEXT_LENGTH)
    with _seeded(seed):
        pipeline = StableDiffusionPipeline(
            vae=_vae(), text_encoder=CLIPTextModel(_clip_config(tokenizer)), tokenizer=tokenizer,
            unet=_unet(cross_attention_dim=WIDTH),
            scheduler=DPMSolverMultistepScheduler(beta_schedule="scaled_linear", prediction_type=prediction),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.save_pretrained(folder)
    return folder


def sdxl(folder: Path, seed: int = 0, force_zeros: bool = True) -> Path:
    """A `StableDiffusionXLPipeline`; `force_zeros` says what the unconditional branch reads."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = tiny_tokenizer(TEXT_LENGTH)
    with _seeded(seed):
        pipeline = StableDiffusionXLPipeline(
            vae=_vae(), text_encoder=CLIPTextModel(_clip_config(tokenizer)),
            text_encoder_2=CLIPTextModelWithProjection(_clip_config(tokenizer, 12)), tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=_unet(cross_attention_dim=2 * WIDTH, addition_embed_type="text_time", addition_time_embed_dim=8,
                       projection_class_embeddings_input_dim=12 + 6 * 8, use_linear_projection=True),
            scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1),
            force_zeros_for_empty_prompt=force_zeros, add_watermarker=False)
    pipeline.save_pretrained(folder)
    return folder


def pixart(folder: Path, seed: int = 0) -> Path:
    """A `PixArtSigmaPipeline` whose transformer gives a variance too, as the published weights do."""
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    tokenizer = tiny_t5_tokenizer()
    config = T5Config(vocab_size=len(tokenizer), d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
                      feed_forward_proj="gated-gelu", decoder_start_token_id=0)
    with _seeded(seed):
        pipeline = PixArtSigmaPipeline(
            tokenizer=tokenizer, text_encoder=T5EncoderModel(config), vae=_vae(),
            transformer=PixArtTransformer2DModel(
                num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1,
                sample_size=LATENT_SIDE, patch_size=2, caption_channels=WIDTH, cross_attention_dim=WIDTH,
                norm_type="ada_norm_single", use_additional_conditions=False),
            scheduler=DPMSolverMultistepScheduler())
    pipeline.save_pretrained(folder)
    return folder


def tiny_t5_tokenizer():
    """Words in a unigram model with T5's special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import T5Tokenizer

    words = sorted({word for text in TEXTS for word in text.split()})
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(letter, -8.0) for letter in "▁abcdefghijklmnopqrstuvwxyz0123456789.,"]
    tokenizer = Tokenizer(models.Unigram([*marks, *((f"▁{word}", -4.0) for word in words), *letters], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5Tokenizer(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>", pad_token="<pad>", extra_ids=0)


PIPELINES = {"sd": sd, "sdxl": sdxl, "pixart": pixart}


def controlnet(base: Path, folder: Path, seed: int = 0) -> Path:
    """A `ControlNetModel` for the pipeline in `base`, of random weights where a new one begins with zeros."""
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    with _seeded(seed):
        network = ControlNetModel.from_unet(UNet2DConditionModel.from_pretrained(base / "unet"),
                                            conditioning_embedding_out_channels=(4, 8))
        for layer in (*network.controlnet_down_blocks, network.controlnet_mid_block,
                      network.controlnet_cond_embedding.conv_out):
            torch.nn.init.normal_(layer.weight, std=0.3)
    network.save_pretrained(folder)
    return folder


def adapter(folder: Path, seed: int = 0) -> Path:
    """A `T2IAdapter` for a U-Net that attends in its first block, as `sd_for_adapter` has."""
    from diffusers import T2IAdapter

    with _seeded(seed):
        network = T2IAdapter(in_channels=3, channels=[16, 16], num_res_blocks=1, downscale_factor=2)
    network.save_pretrained(folder)
    return folder


def sd_for_adapter(folder: Path, seed: int = 0) -> Path:
    """Like `sd`; its U-Net attends in its first block, as that of Stable Diffusion does."""
    from diffusers import UNet2DConditionModel

    sd(folder, seed)
    with _seeded(seed):
        UNet2DConditionModel(
            sample_size=LATENT_SIDE, in_channels=4, out_channels=4, block_out_channels=(16, 16), layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), attention_head_dim=2, norm_num_groups=4,
            cross_attention_dim=WIDTH).save_pretrained(folder / "unet")
    return folder


def gligen(folder: Path, seed: int = 0) -> Path:
    """A `StableDiffusionGLIGENPipeline`, whose U-Net is told boxes with words."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionGLIGENPipeline
    from transformers import CLIPTextModel

    tokenizer = tiny_tokenizer(TEXT_LENGTH)
    with _seeded(seed):
        unet = _unet(cross_attention_dim=WIDTH, attention_type="gated")
        for name, weight in unet.named_parameters():
            if name.endswith(("alpha_attn", "alpha_dense")):  # which begin at 0, so that nothing is heard of boxes
                torch.nn.init.constant_(weight, 2.0)
        pipeline = StableDiffusionGLIGENPipeline(
            vae=_vae(), text_encoder=CLIPTextModel(_clip_config(tokenizer)), tokenizer=tokenizer, unet=unet,
            scheduler=DPMSolverMultistepScheduler(beta_schedule="scaled_linear"),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.save_pretrained(folder)
    return folder
