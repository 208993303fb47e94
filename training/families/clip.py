"""A dual encoder of images and captions (CLIP, Radford et al., ICML 2021, figure 3).

Captions of one scene class are often the same sentence, so a batch holds several right pairings: every image and
caption that belong together count as positive, and the target of a row is spread evenly over them (as in SupCon,
Khosla et al., NeurIPS 2020, equation 2). With all captions distinct this is CLIP's loss.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn
from typing_extensions import override

from terrasynth.eval.models.residual_tower import PooledResNetConfig
from terrasynth.training.data.pictures import PictureSet, to_channels_last
from terrasynth.training.families.caption_tokenizer import encode, train_tokenizer
from terrasynth.training.families.tower import TowerSettings, TowerTask, published_backbone
from terrasynth.training.running.task import Losses

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, VisionTextDualEncoderModel

MAX_LOGIT_SCALE = 4.6052  # ln 100, CLIP section 2.5


class ClipSettings(TowerSettings):
    """What a preset may set about the dual encoder.

    Attributes:
        text_width: Width of the text network.
        text_layers: Layers of the text network.
        text_heads: Attention heads of the text network.
        projection: Width of the space in which images and texts are compared.
        vocabulary: Tokens that the tokenizer may use.
        tokens: Longest text in tokens, start and end included.
    """

    text_width: int = 192
    text_layers: int = 3
    text_heads: int = 4
    projection: int = 128
    vocabulary: int = 1280
    tokens: int = 32


class ClipTask(TowerTask):
    """Symmetric contrastive loss between random views and one of each image's captions."""

    tower = "vision_model."
    settings: ClipSettings

    def __init__(self, splits: dict[str, PictureSet], settings: ClipSettings, device: torch.device) -> None:
        from transformers import CLIPTextConfig, VisionTextDualEncoderConfig, VisionTextDualEncoderModel

        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.size
        texts = [caption for captions in splits["train"].captions for caption in captions]
        self.tokenizer = train_tokenizer(texts, settings.vocabulary, settings.tokens)
        published = settings.published and published_backbone(settings.published)
        vision: PreTrainedConfig = PooledResNetConfig(
            embedding_size=settings.embedding_size, hidden_sizes=list(settings.hidden_sizes),
            depths=list(settings.depths), layer_type=settings.layer_type)
        if published:
            vision = published.config
        text = CLIPTextConfig(
            vocab_size=len(self.tokenizer), hidden_size=settings.text_width, intermediate_size=4 * settings.text_width,
            num_hidden_layers=settings.text_layers, num_attention_heads=settings.text_heads,
            max_position_embeddings=settings.tokens, projection_dim=settings.projection,
            bos_token_id=self.tokenizer.bos_token_id, eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=settings.projection)
        self.model: VisionTextDualEncoderModel = VisionTextDualEncoderModel(config)
        if published:
            self.model.vision_model.load_state_dict(published.state_dict())
        nn.Module.to(self.model, device)
        to_channels_last(self.model.vision_model, device)

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"dual_encoder": self.model}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        train = self.splits["train"]
        views = self.views(rows, generator)
        own = [train.captions[row] for row in rows.tolist()]
        chosen = [c[int(torch.randint(len(c), (1,), generator=generator))] for c in own]
        tokens = encode(self.tokenizer, chosen)
        batch = {name: torch.tensor(value).to(self.device) for name, value in tokens.items()}
        batch["pixels"] = views
        # An entry is positive when the caption of the column is one of the row image's own.
        batch["positive"] = torch.tensor([[text in captions for text in chosen] for captions in own]).to(self.device)
        return batch

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        self.model.train()
        output = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
                            pixel_values=batch["pixels"])
        with torch.no_grad():
            self.model.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        return {"contrastive": contrastive_loss(output.logits_per_image.float(), batch["positive"])}

    @override
    def validate(self) -> dict[str, float]:
        figures = self.retrieval("val")
        return {"score": (figures["image_to_text_r1"] + figures["text_to_image_r1"]) / 2 + figures["margin"], **figures}

    @torch.no_grad()
    def retrieval(self, split: str) -> dict[str, float]:
        """R@1 both ways on each image's first caption, a right caption of another image counting as right.

        Also `margin`: mean cosine of the true pairs minus that of all pairings.
        """
        self.model.eval()
        data = self.splits[split]
        images = torch.cat([self.model.get_image_features(pixel_values=part).pooler_output.float().cpu()
                            for part in self.whole(split)])
        first = [captions[0] for captions in data.captions]
        tokens = {k: torch.tensor(v).to(self.device) for k, v in encode(self.tokenizer, first).items()}
        texts = self.model.get_text_features(**tokens).pooler_output.float().cpu()
        cosine = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
        right = torch.tensor([[text in captions for text in first] for captions in data.captions])
        n = torch.arange(len(data))
        return {
            "image_to_text_r1": right[n, cosine.argmax(1)].float().mean().item(),
            "text_to_image_r1": right[cosine.argmax(0), n].float().mean().item(),
            "margin": (cosine.diagonal().mean() - cosine.mean()).item(),
            "n": float(len(data)),
        }

    @override
    def save(self, folder: Path) -> None:
        super().save(folder)
        self.tokenizer.save_pretrained(folder)


def contrastive_loss(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Mean of the row-wise and column-wise cross-entropy against evenly spread positives.

    Args:
        logits: float (N, N), images by captions, scaled cosines.
        positive: bool (N, N), the diagonal set.

    Returns:
        Scalar; equals CLIP's loss when only the diagonal is positive.
    """
    by_row = positive.float() / positive.sum(1, keepdim=True)
    by_column = positive.float() / positive.sum(0, keepdim=True)
    rows = -(by_row * logits.log_softmax(1)).sum(1).mean()
    columns = -(by_column * logits.log_softmax(0)).sum(0).mean()
    return (rows + columns) / 2
