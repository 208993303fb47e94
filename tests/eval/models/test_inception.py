from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from terrasynth.eval import InputError, load_picture_encoder
from terrasynth.eval.models.inception import (
    _BLOCK_8,
    Conv,
    FidInceptionConfig,
    FidInceptionModel,
    MixedBlock,
    convert_inception,
    resize_like_tensorflow,
)
from terrasynth.eval.models.references import content_hash
from tests.tiny import tiny_pictures


@pytest.fixture(scope="module")
def published():
    """A state dictionary with the names and shapes of the published one, with random values."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in FidInceptionModel(FidInceptionConfig()).state_dict().items()}
    generator, state = torch.Generator().manual_seed(0), {}
    for name, shape in shapes.items():
        if name.endswith(("running_var", "bn.weight")):
            state[name] = torch.ones(shape)
        elif not name.endswith("num_batches_tracked"):
            fan = shape[1:].numel() if name.endswith("conv.weight") else 100
            state[name] = torch.empty(shape).normal_(0, (2 / fan) ** 0.5, generator=generator)
    return state


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory):
    root = tmp_path_factory.mktemp("inception")
    torch.save(published, root / "weights.pth")
    return convert_inception(root / "weights.pth", root / "converted")


def test_the_names_are_those_of_the_published_checkpoint(published):
    # 94 convolutions with a weight and four numbers of their normalisation, and the last layer.
    assert len(published) == 94 * 5 + 2
    shapes = {name: tuple(tensor.shape) for name, tensor in published.items()}
    assert shapes["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert shapes["Mixed_5b.branch_pool.conv.weight"] == (32, 192, 1, 1)
    assert shapes["Mixed_5d.branch5x5_2.conv.weight"] == (64, 48, 5, 5)
    assert shapes["Mixed_6a.branch3x3dbl_3.bn.running_var"] == (96,)
    assert shapes["Mixed_6c.branch7x7dbl_4.conv.weight"] == (160, 160, 7, 1)
    assert shapes["Mixed_7a.branch7x7x3_4.conv.weight"] == (192, 192, 3, 3)
    assert shapes["Mixed_7c.branch3x3_2b.conv.weight"] == (384, 384, 3, 1)
    assert shapes["fc.weight"] == (1008, 2048)


def test_a_picture_is_resized_from_its_top_left_corner():
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    # Output pixel i reads position i / 2, and past the last pixel its value; half-pixel centres would give 0, 0.25, ...
    larger = resize_like_tensorflow(ramp, 8)
    assert larger.shape == (1, 1, 8, 8)
    assert larger[0, 0, 5].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
    assert resize_like_tensorflow(ramp.mT, 8)[0, 0, :, 5].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
    # No antialiasing: every second pixel is dropped, not averaged in.
    assert resize_like_tensorflow(ramp, 2)[0, 0].tolist() == [[0, 2], [0, 2]]


def _identity_block(pool):
    block = MixedBlock(1, ((Conv("branch1x1", 1),),), pool, 0 if pool == "halve" else 1)
    for name, parameter in block.named_parameters():
        torch.nn.init.constant_(parameter, 0 if name.endswith("bias") else 1)
    return block.eval()


def test_average_pools_do_not_count_their_padding():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    with torch.no_grad():
        branch, pooled = _identity_block("average")(x)[0] * (1 + 1e-3) ** 0.5
    np.testing.assert_allclose(branch, x[0, 0], atol=1e-5)
    np.testing.assert_allclose(pooled, np.full((2, 2), 2.5), atol=1e-5)


def test_the_last_block_pools_by_maximum():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    with torch.no_grad():
        pooled = _identity_block("max")(x)[0, 1] * (1 + 1e-3) ** 0.5
    np.testing.assert_allclose(pooled, np.full((2, 2), 4), atol=1e-5)
    assert MixedBlock(8, _BLOCK_8, "max", 192).channels == 2048
    with torch.device("meta"):
        built = FidInceptionModel(FidInceptionConfig())
    assert (built.Mixed_7b.pool, built.Mixed_7c.pool) == ("average", "max")


def test_a_block_halves_with_its_pool():
    block = MixedBlock(2, ((Conv("branch3x3", 3, (3, 3), 2),),), "halve").eval()
    with torch.no_grad():
        out = block(torch.arange(50.0).view(1, 2, 5, 5))
    assert out.shape == (1, 5, 2, 2)
    assert out[0, 3].tolist() == [[12, 14], [22, 24]]


def test_a_converted_checkpoint_is_an_encoder(folder, published):
    encoder, pictures = load_picture_encoder(folder), tiny_pictures(2, 48)
    features = encoder.features(pictures)
    assert (features.shape, features.dtype, encoder.dim) == ((2, 2048), np.float32, 2048)
    with torch.device("meta"):
        model = FidInceptionModel(FidInceptionConfig()).eval()
    model.load_state_dict(published, strict=False, assign=True)
    with torch.no_grad():
        direct = model(torch.from_numpy(pictures).permute(0, 3, 1, 2).float()).pooler_output.numpy()
    np.testing.assert_allclose(features, direct, rtol=1e-4, atol=1e-5 * np.abs(direct).max())
    assert np.abs(features[0] - features[1]).max() > 0
    assert encoder.identity() == {"kind": "fid-inception-v3", "model": "local", "content": content_hash(folder)}


def test_what_is_no_such_checkpoint_is_one_clear_line(published, tmp_path):
    shapes = {name: torch.zeros(tensor.shape, dtype=torch.uint8) for name, tensor in published.items()}
    save_file({name: tensor for name, tensor in shapes.items() if name != "fc.bias"}, tmp_path / "less.safetensors")
    save_file(shapes | {"AuxLogits.fc.bias": torch.zeros(3)}, tmp_path / "more.safetensors")
    save_file(shapes | {"fc.bias": torch.zeros(1000)}, tmp_path / "other.safetensors")
    torch.save({"model": FidInceptionConfig()}, tmp_path / "object.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "weights.h5").write_bytes(b"x")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, words in {
        "less.safetensors": r"1 tensors of FID's Inception-v3 are missing, such as 'fc\.bias'",
        "more.safetensors": r"1 tensors are no part of FID's Inception-v3, such as 'AuxLogits\.fc\.bias'",
        "other.safetensors": r"'fc\.bias' has shape \(1000,\), and FID's Inception-v3 needs \(1008,\)",
        "object.pth": "holds more than tensors, or is damaged",
        "broken.pth": "holds more than tensors, or is damaged",
        "weights.h5": "unknown suffix '.h5'",
        "list.pt": "holds no named tensors",
        "absent.pth": "no such file",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            convert_inception(tmp_path / name, tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
