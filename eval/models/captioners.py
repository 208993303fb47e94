"""Networks that say what an image shows: `cap-rs` and what `terrasynth train captioner` makes, and those of the Hub."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import nearest, one_line
from terrasynth.eval.errors import InputError
from terrasynth.eval.images import check_some_images
from terrasynth.eval.models.caption_words import as_sentence, caption_words, encode_words, word_places
from terrasynth.eval.models.dual_encoders import check_texts
from terrasynth.eval.models.inference import inference, read_precision
from terrasynth.eval.models.loading import commit_of, load_config, load_weights, unusable
from terrasynth.eval.models.picture_encoders import PACKAGED, PictureNetwork, load_network
from terrasynth.eval.models.preprocess import Preprocessor, find_file
from terrasynth.eval.models.references import CAPTIONER, EMBEDDED_ROOT, ResolvedModel, deciding_files, resolve

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from terrasynth.eval.models.caption_network import CaptionerConfig, CaptionerModel

ENCODER = "encoder"
"""Folder in a captioner's own, with a copy of the image encoder below it; and what its configuration calls it."""
HUB_KINDS: Mapping[str, str] = {
    "blip": "BlipForConditionalGeneration", "git": "GitForCausalLM",
    "vision-encoder-decoder": "VisionEncoderDecoderModel",
}
"""`model_type` -> class of `transformers` that writes captions with it."""
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model",
              "sentencepiece.bpe.model")
LONGEST = 40
BATCH = 32


class Captioner(Protocol):
    """What says in a sentence what an image shows.

    Attributes:
        styles: Whose captions it can write like; the first unless another is asked for. Empty where there is no choice.
        called: Name of the user's folder that it was loaded from; "" for any other.

    Example:
        >>> from terrasynth.eval import Captioner, load_captioner
        >>> captioner: Captioner = load_captioner("cap-rs")
        >>> captioner.identity()["model"]
        'cap-rs'
    """

    styles: tuple[str, ...]
    called: str

    def identity(self) -> dict[str, object]:
        """Kind, model, and content hash (a folder) or commit (the Hub)."""
        ...

    def caption(self, images: NDArray[np.uint8], style: str | None = None, beams: int | None = None) -> list[str]:
        """One sentence on each image `uint8` (N, H, W, 3)."""
        ...


class GridEncoder(Protocol):
    """An image encoder that gives features of places."""

    def identity(self) -> dict[str, object]:
        """Kind, model, and content hash (a folder) or commit (the Hub)."""
        ...

    def grid(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Features `float32` (N, P, F) of the places of images `uint8` (N, H, W, 3)."""
        ...


class GridCaptioner:
    """A captioner of `terrasynth train captioner`; made by `load_captioner`.

    Attributes:
        styles: Data sets that it learned from, whose captions it can write like.
        called: Name of the user's folder that it was loaded from; "" for an embedded one.
    """

    def __init__(self, model: CaptionerModel, encoder: GridEncoder, identity: Mapping[str, object],
                 called: str = "") -> None:
        self.called, self._model, self._encoder, self._identity = called, model, encoder, dict(identity)
        self.config: CaptionerConfig = model.config
        self.styles = tuple(self.config.styles)
        self._places = word_places(self.config)

    def identity(self) -> dict[str, object]:
        """Kind, model, and content hash (a folder) or commit (the Hub)."""
        return dict(self._identity)

    def caption(self, images: NDArray[np.uint8], style: str | None = None, beams: int | None = None) -> list[str]:
        """Say what images show.

        Args:
            images: `uint8` (N, H, W, 3).
            style: Whose captions to write like; None for the first of `styles`.
            beams: Captions that are followed at once; None for what was chosen for the model on `val`.

        Returns:
            A sentence each.

        Raises:
            InputError: It knows no such style.
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3), or N is 0.
        """
        check_some_images(images)
        return [text for start in range(0, len(images), BATCH)
                for text in self.say(self.look(images[start : start + BATCH]), style, beams)]

    def look(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the image encoder gives of images `uint8` (N, H, W, 3): features of places, `float32` (N, P, F)."""
        return self._encoder.grid(images, BATCH)

    def say(self, grids: NDArray[np.floating], style: str | None = None, beams: int | None = None) -> list[str]:
        """The captions that `caption` gives, of what `look` gave.

        Raises:
            InputError: It knows no such style.
        """
        number, first = self._style(style), len(self.config.styles) + 3
        rows = self._model.write(self._tensor(grids), number, beams)
        return [as_sentence([self.config.words[token - first] for token in row]) for row in rows]

    def log_likelihood(self, images: NDArray[np.uint8], texts: Sequence[str], style: str | None = None
                       ) -> NDArray[np.float32]:
        """How expected each text is of its image: mean log-probability of a word, its end included.

        A word that the captioner does not know counts as an unknown one.

        Args:
            images: `uint8` (N, H, W, 3).
            texts: N texts.
            style: As `caption` takes it.

        Returns:
            `float32` (N,), at most 0.

        Raises:
            InputError: It knows no such style.
            ValueError: The numbers of images and texts differ.
        """
        check_some_images(images)
        check_texts(texts)
        if len(texts) != len(images):
            raise ValueError(f"{len(texts)} texts for {len(images)} images; give one for each")
        return np.concatenate([self.weigh(self.look(images[start : start + BATCH]), texts[start : start + BATCH], style)
                               for start in range(0, len(images), BATCH)])

    def weigh(self, grids: NDArray[np.floating], texts: Sequence[str], style: str | None = None) -> NDArray[np.float32]:
        """The likelihoods that `log_likelihood` gives, of what `look` gave.

        Raises:
            InputError: It knows no such style.
        """
        import torch

        tokens = [torch.tensor(encode_words(caption_words(text), self._places, self._style(style), self.config.length))
                  for text in texts]
        rows = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True).to(self._model.device)
        values: NDArray[np.float32] = self._model.log_likelihood(self._tensor(grids), rows).float().cpu().numpy()
        return values

    def _tensor(self, grids: NDArray[np.floating]) -> torch.Tensor:
        import torch

        return torch.from_numpy(grids.astype(np.float32)).to(self._model.device)

    def _style(self, style: str | None) -> int:
        if style is None:
            return 0
        if style not in self.styles:
            raise InputError(f"style {style!r}: {self._identity['model']!r} writes like {', '.join(self.styles)}"
                             f"{nearest(style, self.styles)}")
        return self.styles.index(style)


class HubCaptioner:
    """A captioner of `transformers`; made by `load_captioner`.

    Attributes:
        styles: Empty.
        called: Name of the user's folder that it was loaded from; "" for one of the Hub.
    """

    styles: tuple[str, ...] = ()

    def __init__(self, model: Any, tokenizer: Any, preprocessor: Preprocessor, identity: Mapping[str, object],  # noqa: ANN401
                 called: str = "") -> None:
        self.called, self._model, self._tokenizer = called, model, tokenizer
        self._preprocessor, self._identity = preprocessor, dict(identity)

    def identity(self) -> dict[str, object]:
        """Kind, model, and content hash (a folder) or commit (the Hub)."""
        return dict(self._identity)

    def caption(self, images: NDArray[np.uint8], style: str | None = None, beams: int | None = None) -> list[str]:
        """Say what images show.

        Args:
            images: `uint8` (N, H, W, 3).
            style: Refused: there is no choice.
            beams: Captions that are followed at once; None for 5.

        Returns:
            What the model says of each, on one line, without its special tokens.

        Raises:
            InputError: A style is asked for.
            TypeError: Not `uint8`.
            ValueError: Not (N, H, W, 3), or N is 0.
        """
        import torch

        check_some_images(images)
        if style is not None:
            raise InputError(f"style {style!r}: {self._identity['model']!r} has no styles; leave it out")
        said: list[str] = []
        with inference(self._model, torch.float32):
            for start in range(0, len(images), BATCH):
                pixels = self._preprocessor(images[start : start + BATCH])["pixel_values"].to(self._model.device)
                made = self._model.generate(pixel_values=pixels, num_beams=beams or 5, max_new_tokens=LONGEST,
                                            do_sample=False)
                said += self._tokenizer.batch_decode(made, skip_special_tokens=True)
        return [" ".join(text.split()) for text in said]


def load_captioner(
    reference: str | Path, device: str = "cpu", dtype: str | None = None, roots: Sequence[Path] = (EMBEDDED_ROOT,)
) -> GridCaptioner | HubCaptioner:
    """Load a captioner: an embedded name, a folder of `terrasynth train captioner`, BLIP, GIT, an encoder-decoder.

    Args:
        reference: Name, folder, or Hub id with an optional `@revision`; weights in `safetensors`.
        device: A torch device, or "auto".
        dtype: Of the matrix products of the image encoder below a captioner of ours; as `load_encoder` takes it.

    Raises:
        InputError: Unknown reference, another kind of model, weights that are missing, pickled or incomplete; or the
            image encoder below it is not installed, or not the one that it was trained with; or no such device.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import load_captioner
        >>> captioner = load_captioner("cap-rs")   # needs the extra imagenet
        >>> captioner.styles
        ('rsicd', 'ucm')
        >>> len(captioner.caption(np.zeros((2, 64, 64, 3), np.uint8)))
        2
    """
    resolved, device = resolve(reference, roots), _device(device)
    config = load_config(resolved)
    read_precision(dtype)
    if config.model_type == CAPTIONER:
        return _grid_captioner(resolved, config, device, dtype, roots)
    if config.model_type not in HUB_KINDS:
        raise InputError(f"model {resolved.reference!r}: a {config.model_type!r} model is no captioner that is known "
                         f"here; use one of type {', '.join((CAPTIONER, *HUB_KINDS))}")
    return _hub_captioner(resolved, config, device)


def _device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} cannot be used: {one_line(error, 120)}; use auto") from error
    return device


def _grid_captioner(resolved: ResolvedModel, config: PreTrainedConfig, device: str, dtype: str | None,
                    roots: Sequence[Path]) -> GridCaptioner:
    from terrasynth.eval.models.caption_network import CaptionerModel

    model: Any = load_weights(CaptionerModel, resolved, config)
    named = str(config.encoder)
    encoder = load_grid_encoder(str(resolved.folder / ENCODER) if named == ENCODER else named, device, dtype, roots)
    trained, now = (_weights(one) for one in (config.encoder_identity, encoder.identity()))
    if trained != now:
        raise InputError(f"captioner {resolved.reference!r} was trained on {named} {trained}, and that is {now} now; "
                         "train it again with `terrasynth train captioner`")
    identity = {"kind": CAPTIONER, **resolved.identity(commit_of(config))}
    return GridCaptioner(model.to(device), encoder, identity, resolved.called)


def _weights(identity: Mapping[str, object]) -> object:
    return identity.get("content") or identity.get("revision") or identity


def load_grid_encoder(reference: str, device: str = "cpu", dtype: str | None = None,
                      roots: Sequence[Path] = (EMBEDDED_ROOT,)) -> GridEncoder:
    """Load an image encoder that gives features of places.

    Args:
        reference: As `load_picture_encoder` takes it.

    Raises:
        InputError: It cannot be loaded, or gives only features of whole images.
    """
    encoder = load_network(reference, device, dtype, roots)
    if not isinstance(encoder, PictureNetwork):
        raise InputError(f"encoder {reference!r} gives no features of places in an image; use a backbone such as "
                         "'efficientnet-lite0' or 'scene-ucm'")
    return encoder


def keep_encoder(reference: str, encoder: GridEncoder, folder: Path, roots: Sequence[Path] = (EMBEDDED_ROOT,)) -> str:
    """Copy an image encoder beside a captioner where it is embedded or a folder; returns what the captioner calls it.

    What a package brings is called by its name, what is on the Hub by its id and commit.
    """
    shutil.rmtree(folder / ENCODER, ignore_errors=True)
    identity = encoder.identity()
    if revision := identity.get("revision"):
        return f"{identity['model']}@{revision}"
    if str(identity["model"]).startswith(PACKAGED):
        return reference
    for name, path in deciding_files(resolve(reference, roots).folder):
        place = folder / ENCODER / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return ENCODER


def _hub_captioner(resolved: ResolvedModel, config: PreTrainedConfig, device: str) -> HubCaptioner:
    import transformers

    model: Any = load_weights(getattr(transformers, HUB_KINDS[config.model_type]), resolved, config)
    # Where there is none, transformers makes one that knows no word, and every caption would be empty.
    if not any(find_file(resolved.location, name, resolved.revision) for name in TOKENIZERS):
        raise InputError(f"model {resolved.reference!r}: no tokenizer ({', '.join(TOKENIZERS[:2])}, ...); save it "
                         "beside the weights")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(resolved.location, revision=resolved.revision or "main",
                                                               trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"its tokenizer: {unusable(resolved, error)}") from error
    except ImportError as error:
        raise InputError(f"model {resolved.reference!r}: its tokenizer needs a further package "
                         f"({one_line(error, 100)})") from error
    preprocessor = Preprocessor.load(resolved.location, resolved.revision, resolved.reference)
    identity = {"kind": config.model_type, **resolved.identity(commit_of(config))}
    return HubCaptioner(model.to(device), tokenizer, preprocessor, identity, resolved.called)
