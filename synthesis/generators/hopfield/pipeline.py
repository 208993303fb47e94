"""`Txt2ImgMHNPipeline`: the Hopfield prototype generator as a diffusers pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DiffusionPipeline, ImagePipelineOutput, VQModel
from diffusers.image_processor import VaeImageProcessor
from huggingface_hub import snapshot_download
from transformers import PreTrainedTokenizerBase

from terrasynth.eval.models.references import SAMPLING_FILE
from terrasynth.synthesis.core.sampling import MOST_GUIDANCE
from terrasynth.synthesis.generators.hopfield.sampling import generate_tokens
from terrasynth.synthesis.generators.hopfield.transformer import HopfieldTransformer
from terrasynth.synthesis.generators.latents import pixels_per_latent, to_pixels

FETCHED = ["model_index.json", SAMPLING_FILE, "*/*.json", "*/*.safetensors", "*/*.txt"]
FETCH_OPTIONS = ("revision", "token", "cache_dir", "force_download", "local_files_only")
TEMPERATURES = (0.01, 100.0)
OUTPUT_TYPES = ("pil", "np", "pt", "latent")


class Txt2ImgMHNPipeline(DiffusionPipeline):
    """Text to image by image tokens that are drawn one after the other (Txt2Img-MHN, Xu et al., IEEE TIP 2023).

    Args:
        vqvae: Tokenizer of images, or of the latents of `vae`.
        transformer: Scores the next image token.
        vae: Autoencoder whose latents the tokens stand for; None where they stand for images.
    """

    model_cpu_offload_seq = "transformer->vqvae->vae"
    _optional_components = ["vae"]  # noqa: RUF012 - as diffusers declares it

    def __init__(self, vqvae: VQModel, transformer: HopfieldTransformer, tokenizer: PreTrainedTokenizerBase,
                 temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0,
                 vae: AutoencoderKL | AutoencoderTiny | None = None) -> None:
        super().__init__()
        self.register_modules(vqvae=vqvae, transformer=transformer, tokenizer=tokenizer, vae=vae)
        self.register_to_config(temperature=temperature, top_k=top_k, top_p=top_p)
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.vae_scale_factor)

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:  # noqa: ANN401 - as in diffusers
        """Fetch a pipeline from the Hub into its cache, weights as safetensors only.

        The library's own refuses a pipeline whose components live in another package than its own.

        Args:
            pretrained_model_name: Hub id.
            kwargs: Of `huggingface_hub.snapshot_download`: `revision`, `token`, `cache_dir`, `force_download`,
                `local_files_only`; others are of no use here.

        Returns:
            The folder in the cache.
        """
        known = {name: kwargs[name] for name in FETCH_OPTIONS if kwargs.get(name) is not None}
        return str(snapshot_download(pretrained_model_name, allow_patterns=FETCHED, **known))

    @property
    def vae_scale_factor(self) -> int:
        """Pixels of an image's side for each of its tokens."""
        return pixels_per_token(self.vqvae, self.vae)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        side = int(self.transformer.config.side) * self.vae_scale_factor
        return side, side

    def encode_prompt(self, prompts: Sequence[str]) -> torch.Tensor:
        """Texts to token ids, int64 (N, text_length), padded; longer texts are cut."""
        encoded = self.tokenizer(list(prompts), padding="max_length", truncation=True,
                                 max_length=self.transformer.config.text_length)
        return torch.tensor(encoded["input_ids"], device=self.transformer.device)

    def check_sampling(self, temperature: float | None = None, top_k: int | None = None,
                       top_p: float | None = None) -> tuple[float, int, float]:
        """Temperature, top-k and top-p with the model's own where None is given.

        Raises:
            ValueError: One is outside its range.
        """
        temperature = self.config.temperature if temperature is None else temperature
        top_k = self.config.top_k if top_k is None else top_k
        top_p = self.config.top_p if top_p is None else top_p
        low, high = TEMPERATURES
        if not isinstance(top_k, int) or not low <= temperature <= high or top_k < 0 or not 0 < top_p <= 1:
            raise ValueError(f"temperature={temperature} has to be from {low:g} to {high:g}, top_k={top_k} a whole "
                             f"number of at least 0, top_p={top_p} in (0, 1]")
        return temperature, top_k, top_p

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        num_images_per_prompt: int = 1,
        guidance_scale: float = 3.0,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        use_cache: bool = True,
    ) -> Any:  # noqa: ANN401 - a tuple or ImagePipelineOutput, as in diffusers
        """Draw images.

        Args:
            prompt: One text or several; each distinct one is read once.
            num_images_per_prompt: Images of each text, one after the other in the result.
            guidance_scale: Classifier-free guidance (Ho & Salimans, 2022) on logits; at most 1 is none.
            temperature: 0.01 to 100: beyond, logits in float32 all become equal or infinite. None for the model's own,
                as for the next two.
            top_k: Draw from the k most likely tokens; 0 for all.
            top_p: Draw from the most likely tokens that have this probability together; in (0, 1].
            generator: One an image, or one for all, on the CPU or the network's device; None for the global one.
            output_type: "pil", "np" (float32 (N, H, W, 3) in [0, 1]), "pt" (float (N, 3, H, W) in [0, 1]) or
                "latent" (tokens, int64 (N, side, side)).
            return_dict: False returns a tuple.
            use_cache: False computes every token's past anew, many times slower; with the same
                tokens in float32 (in lower precision rounding may choose others).

        Raises:
            ValueError: An argument is outside its range.
        """
        temperature, top_k, top_p = self.check_sampling(temperature, top_k, top_p)
        if not 0 <= guidance_scale <= MOST_GUIDANCE or num_images_per_prompt < 1:
            raise ValueError(f"guidance_scale={guidance_scale} has to be from 0 to {MOST_GUIDANCE}, "
                             f"num_images_per_prompt={num_images_per_prompt} at least 1")
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"output_type={output_type!r} is unknown; use one of {', '.join(OUTPUT_TYPES)}")
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if not prompts:
            raise ValueError("prompt is an empty list")
        wanted = [text for text in prompts for _ in range(num_images_per_prompt)]
        distinct = list(dict.fromkeys(wanted))
        place = {text: number for number, text in enumerate(distinct)}
        side = int(self.transformer.config.side)
        with self.progress_bar(total=side * side) as bar:
            tokens = generate_tokens(
                self.transformer,
                self.encode_prompt(distinct),
                torch.tensor([place[text] for text in wanted]),
                _uniform(generator, len(wanted), side * side),
                self.encode_prompt([""])[0],
                guidance_scale, temperature, top_k, top_p, use_cache, bar.update,
            ).view(-1, side, side)
        images = tokens if output_type == "latent" else self.image_processor.postprocess(
            self.decode_tokens(tokens), output_type=output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def decode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Images float (N, 3, H, W), about [-1, 1], of tokens int64 (N, side, side)."""
        tokens = tokens.to(self.vqvae.device)
        # On a CPU a few images at a time stay in its caches: half the time of a large batch.
        return torch.cat([self._decode(part) for part in tokens.split(4 if tokens.device.type == "cpu" else 64)])

    def _decode(self, tokens: torch.Tensor) -> torch.Tensor:
        shape = (*tokens.shape, self.vqvae.config.vq_embed_dim or self.vqvae.config.latent_channels)
        latents = tokens.flatten()
        if not self.vqvae.config.lookup_from_codebook:  # then `decode` takes what the codes stand for
            latents = self.vqvae.quantize.get_codebook_entry(latents, shape)
        decoded: torch.Tensor = self.vqvae.decode(latents, force_not_quantize=True, shape=shape).sample
        return decoded if self.vae is None else to_pixels(self.vae, decoded)


def pixels_per_token(vqvae: VQModel, vae: Any = None) -> int:  # noqa: ANN401 - an autoencoder of diffusers, or None
    """Pixels of an image's side for each of its tokens."""
    return int(2 ** (len(vqvae.config.block_out_channels) - 1)) * (1 if vae is None else pixels_per_latent(vae))


def _uniform(generator: torch.Generator | list[torch.Generator] | None, n: int, length: int) -> torch.Tensor:
    if isinstance(generator, list):
        if len(generator) != n:
            raise ValueError(f"{len(generator)} generators for {n} images; give one an image")
        return torch.cat([_uniform(each, 1, length).cpu() for each in generator])
    device = generator.device if generator is not None else "cpu"
    return torch.rand(n, length, generator=generator, device=device, dtype=torch.float64)
