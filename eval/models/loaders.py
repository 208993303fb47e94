"""Whatever judges, by its reference: networks that libraries save, and judges of one's own classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.calibration import Calibration
from terrasynth.eval.models.classifiers import SceneClassifier, load_image_classifier
from terrasynth.eval.models.dual_encoders import CALIBRATION_FILE, ClipEncoder, PictureEncoder, load_dual_encoder
from terrasynth.eval.models.judges import AGAIN, BACKBONE, KIND, About, Heads, JudgeClassifier, JudgeEncoder
from terrasynth.eval.models.picture_encoders import load_network, refuse_size
from terrasynth.eval.models.references import EMBEDDED_ROOT, JUDGE_FILE, SCENE_CALIBRATION_FILE, ResolvedModel, resolve
from terrasynth.eval.models.thumbnail import THUMBNAIL

if TYPE_CHECKING:
    import torch


def load_encoder(
    reference: str | Path, device: str = "cpu", dtype: str | torch.dtype | None = None,
    roots: Sequence[Path] = (EMBEDDED_ROOT,),
) -> ClipEncoder | JudgeEncoder:
    """Load what reads images and texts: an embedded name (`clip-ucm`), a folder, a Hub id with an optional `@revision`.

    Args:
        reference: The model, weights in `safetensors`: a `CLIPModel`, a `VisionTextDualEncoderModel`, a `SiglipModel`
            (SigLIP 2 too, of fixed and of variable resolution), or a vision transformer as OpenCLIP saves it, with its
            `open_clip_config.json`; or the folder of `terrasynth train judge`.
        dtype: "float32" (the default, also for None), "bfloat16" or "float16": the type of the matrix products,
            under autocast. The weights stay in `float32`.

    Raises:
        InputError: Unknown reference, another kind of model, or weights that are missing, pickled or incomplete.

    Example:
        >>> from terrasynth.eval import load_encoder
        >>> encoder = load_encoder("clip-ucm")
        >>> encoder.encode_texts(["a beach", "a forest"]).shape == (2, encoder.dim)
        True
    """
    found = judge_folder(reference, roots)
    if found is None:
        return load_dual_encoder(reference, device, dtype, roots)
    about, network, heads = _parts(found, device, dtype, roots)
    path = found.folder / CALIBRATION_FILE
    return JudgeEncoder(network, heads, about.words, _identity(found),
                        Calibration.load(path) if path.is_file() else None, found.called)


def load_picture_encoder(
    reference: str | Path, device: str = "cpu", dtype: str | torch.dtype | None = None,
    roots: Sequence[Path] = (EMBEDDED_ROOT,), size: int | None = None,
) -> PictureEncoder:
    """Load whatever gives features of images: a backbone, a classifier's backbone, a dual encoder, "thumbnail".

    Args:
        reference: "thumbnail", "efficientnet-lite0" to "-lite2" (weights from their packages), an embedded name
            (`scene-ucm`, `clip-ucm`), a folder, or a Hub id with an optional `@revision`; weights in `safetensors`. The
            Inception network of FID is a folder that
            `terrasynth.eval.models.inception.convert_inception` wrote.
        dtype: "float32" (the default, also for None), "bfloat16" or "float16": the type of the matrix products.
        size: Of backbones: resize whole images to this square, in place of the resizing and cropping that the model's
            own preprocessing asks for. Stein et al. give DINOv2 224 px; its own preprocessing cuts off the border.

    Raises:
        InputError: Unknown reference, another kind of model, or weights that are missing, pickled or incomplete; a
            size for what is no backbone.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import load_picture_encoder
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        >>> encoder = load_picture_encoder("scene-ucm")
        >>> encoder.features(images).shape == (2, encoder.dim), encoder.reads_text
        (True, False)
    """
    found = judge_folder(reference, roots)
    if found is None:
        return load_network(reference, device, dtype, roots, size)
    refuse_size(size, found.reference)
    return load_encoder(reference, device, dtype, roots)


def load_classifier(
    reference: str | Path, device: str = "cpu", roots: Sequence[Path] = (EMBEDDED_ROOT,)
) -> SceneClassifier:
    """Load a scene classifier: an embedded name (`scene-ucm`), a folder, or a Hub id with an optional `@revision`.

    Args:
        reference: A model that `AutoModelForImageClassification` reads and whose backbone pools its features
            (ResNet, ConvNext, ...), weights in `safetensors`; or the folder of `terrasynth train judge`.

    Raises:
        InputError: Unknown reference, another kind of model, or weights that are missing, pickled or incomplete.

    Example:
        >>> from terrasynth.eval import load_classifier
        >>> classifier = load_classifier("scene-ucm")
        >>> len(classifier.labels), classifier.labels[:2]
        (21, ('agricultural', 'airplane'))
    """
    found = judge_folder(reference, roots)
    if found is None:
        return load_image_classifier(reference, device, roots)
    about, network, heads = _parts(found, device, None, roots)
    return JudgeClassifier(network, heads, about.labels, _identity(found), found.called)


def scene_calibration_of(reference: str | Path, roots: Sequence[Path] = (EMBEDDED_ROOT,)) -> Path | None:
    """The file with the scores of real images under a classifier; None where it ships none.

    Raises:
        InputError: Unknown reference.
    """
    found = resolve(reference, roots)
    if not found.local:
        return None
    judge = (found.folder / JUDGE_FILE).is_file()
    path = found.folder / (SCENE_CALIBRATION_FILE if judge else CALIBRATION_FILE)
    return path if path.is_file() else None


def judge_folder(reference: str | Path, roots: Sequence[Path] = (EMBEDDED_ROOT,)) -> ResolvedModel | None:
    """Where a judge of one's own classes lies; None for any other model.

    Raises:
        InputError: Unknown reference.
    """
    if str(reference) == THUMBNAIL or not Path(str(reference)).expanduser().is_dir():
        return None
    resolved = resolve(reference, roots)
    return resolved if resolved.local and (resolved.folder / JUDGE_FILE).is_file() else None


def _identity(found: ResolvedModel) -> dict[str, object]:
    return {"kind": KIND, **found.identity()}


def _parts(
    found: ResolvedModel, device: str, dtype: str | torch.dtype | None, roots: Sequence[Path]
) -> tuple[About, PictureEncoder, Heads]:
    """What a judge is made of.

    Raises:
        InputError: The network below the heads is not the one that they were trained on, or a file is broken.
    """
    about = About.load(found.folder)
    network = load_network(found.folder / BACKBONE if about.backbone == BACKBONE else about.backbone, device, dtype,
                           roots)
    named, loaded = (_weights(one) for one in (about.network, network.identity()))
    if named != loaded:
        raise InputError(f"judge {found.reference!r}: its heads were trained on {about.backbone} {named}, and that is "
                         f"{loaded} now; {AGAIN}")
    return about, network, Heads.load(found.folder, about, network.dim)


def _weights(network: Mapping[str, object]) -> object:
    return network.get("content") or network.get("revision") or network
