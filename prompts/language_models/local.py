"""A causal language model of `transformers`: found and checked at once, loaded when the first answer is needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from terrasynth.errors import nearest, one_line
from terrasynth.hashing import files_hash
from terrasynth.hub_ids import is_hub_id
from terrasynth.prompts.addresses import shown
from terrasynth.prompts.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")
DECIDING_SUFFIXES = frozenset({".json", ".jinja", ".txt", ".model", ".safetensors"})

log = logging.getLogger("terrasynth")


class LanguageModel:
    """A model, its tokenizer, and how it is asked.

    Attributes:
        name: What the user wrote, for messages.
        chats: Whether it has a chat template, so that it answers requests; else it continues text.
        dtype: In which precision.
        ends: Tokens that end an answer.
    """

    def __init__(self, reference: object, revision: str | None, device: str, dtype: str) -> None:
        """Find the model and load its tokenizer, not its weights.

        Args:
            reference: A folder as `save_pretrained` wrote it, or a Hub id with optional @revision; the Hub is contacted
                through the library alone.
            device: "auto" or a torch device.
            dtype: "auto" (float32 on a CPU, elsewhere that of the weights), "float32", "bfloat16" or "float16".

        Raises:
            InputError: There is no such model, or it is no causal one, has no tokenizer, or no safetensors.
        """
        self.name = str(reference)
        self._location, self._revision, self._folder = _locate(reference, revision)
        self.device = _device(device)
        with self._failing("cannot be read"), _quiet():
            from transformers import AutoConfig
            from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

            if self._folder is None:
                from huggingface_hub import constants

                log.warning("model %s: asking %s", self._location, shown(constants.ENDPOINT))
            self._config = AutoConfig.from_pretrained(self._location, revision=self._revision)
        if type(self._config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise InputError(
                f"model {self.name!r} of the lm expander is of the type {self._config.model_type!r}, which writes no "
                "text; give a causal language model"
            )
        if self._folder is None:
            # what a branch points to may change until the weights are fetched
            self._revision = self._config._commit_hash or self._revision
        with self._failing("has no tokenizer that can be read"), _quiet():
            from transformers import AutoTokenizer

            self.tokenizer = AutoTokenizer.from_pretrained(self._location, revision=self._revision)
        self.chats = bool(getattr(self.tokenizer, "chat_template", None))
        self.dtype = self._dtype(dtype)
        self.ends = self._ends()

    def identity(self) -> dict[str, object]:
        """Content hash of a folder, or id and commit of a Hub model; and the precision."""
        if self._folder is not None:
            return {"model": "local", "content": self._content, "dtype": self.dtype}
        return {"model": self._location, "revision": self._revision, "dtype": self.dtype}

    def request(self, system: str, user: str) -> list[int]:
        """The tokens of a request, up to where the answer begins; for a model that chats."""
        from jinja2 import TemplateError

        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            text = self._rendered(messages)
        except TemplateError:  # so a template says that it knows no system role
            try:
                text = self._rendered([{"role": "user", "content": f"{system}\n\n{user}"}])
            except TemplateError as error:
                raise InputError(
                    f"model {self.name!r} of the lm expander: its chat template fails ({_line(error)}); "
                    "take another model"
                ) from error
        return self._tokens(text, special=False)

    def continuation(self, text: str) -> list[int]:
        """The tokens of a text that the model goes on with."""
        return self._tokens(text, special=True)

    def text(self, before: list[int], tokens: list[int]) -> str:
        """The text of tokens that follow others; some tokenizers drop a blank at the start of a text."""
        texts = [self.tokenizer.decode(one, skip_special_tokens=True) for one in (before, before + tokens)]
        return str(texts[1])[len(texts[0]):]

    @property
    def limit(self) -> int | None:
        """Tokens that the model can see at once; None where it does not say."""
        found = getattr(self._config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) and found > 0 else None

    @cached_property
    def model(self) -> Any:  # noqa: ANN401 - transformers has no public type of a model that generates
        """The network with its weights.

        Raises:
            InputError: The weights are missing or damaged.
        """
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig

        loaded: Any
        with self._failing("has no safetensors weights that can be read"), _quiet():
            loaded = AutoModelForCausalLM.from_pretrained(
                self._location, revision=self._revision, dtype=getattr(torch, self.dtype), use_safetensors=True,
                output_loading_info=True,
            )
            model, loading = loaded
            if loading["missing_keys"]:  # the library would fill them with random numbers
                raise ValueError(f"{sorted(loading['missing_keys'])[0]} is missing")
        model.generation_config = GenerationConfig()  # its own would add penalties and limits
        return model.to(self.device).eval()

    @cached_property
    def _content(self) -> str:
        assert self._folder is not None
        return files_hash((path.name, path) for path in sorted(self._folder.iterdir())
                          if path.suffix in DECIDING_SUFFIXES and path.is_file() and not path.name.startswith("."))

    def _rendered(self, messages: list[dict[str, str]]) -> str:
        # `enable_thinking` is a variable of templates of reasoning models; others do not look at it
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True,
                                                      enable_thinking=False))

    def _tokens(self, text: str, special: bool) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        if not tokens:
            raise InputError(f"model {self.name!r} of the lm expander: its tokenizer makes no token of a request")
        return tokens

    def _dtype(self, wanted: object) -> str:
        if wanted != "auto":
            if wanted not in DTYPES:
                raise InputError(
                    f"option dtype {wanted!r} of the lm expander is unknown{nearest(str(wanted), DTYPES)}; "
                    f"use auto, {', '.join(DTYPES)}"
                )
            return str(wanted)
        stored = str(getattr(self._config, "dtype", None) or "float32").removeprefix("torch.")
        return "float32" if self.device == "cpu" or stored not in DTYPES else stored

    def _ends(self) -> frozenset[int]:
        found = {self.tokenizer.eos_token_id}
        for config in (self._config, self._config.get_text_config(), self._generation()):
            own = getattr(config, "eos_token_id", None)
            found |= set(own) if isinstance(own, list) else {own}
        if not self.chats:  # a caption ends with its line
            found |= {token for token in self.tokenizer("\n", add_special_tokens=False)["input_ids"]
                      if self.tokenizer.decode([token]) == "\n"}
        return frozenset(token for token in found if isinstance(token, int))

    def _generation(self) -> object:
        from transformers import GenerationConfig

        try:
            with _quiet():
                return GenerationConfig.from_pretrained(self._location, revision=self._revision)
        except OSError:  # many models have none
            return None

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        from safetensors import SafetensorError

        try:
            yield
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            raise InputError(
                f"model {self.name!r} of the lm expander {what} ({_line(error)}); give a folder that save_pretrained "
                "wrote, or a Hub id as owner/name"
            ) from error


def _locate(reference: object, revision: object) -> tuple[str, str, Path | None]:
    """Location, revision, and folder if it is one."""
    if not isinstance(reference, str | Path) or not str(reference).strip():
        raise InputError(f"option model {reference!r} of the lm expander must be a folder, or a Hub id as owner/name")
    if revision is not None and (not isinstance(revision, str) or not revision):
        raise InputError(f"option revision {revision!r} of the lm expander must be a branch, a tag or a commit")
    folder = Path(reference).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"model {str(reference)!r} of the lm expander is a folder: leave the option revision out")
        if not any(folder.glob("*.safetensors")):
            raise InputError(f"model {str(reference)!r} of the lm expander: the folder has no .safetensors file; "
                             "give a folder that save_pretrained wrote")
        return str(folder), "main", folder
    location, _, written = str(reference).strip().partition("@")
    if written and revision:
        raise InputError(f"model {str(reference)!r} of the lm expander names a revision, and the option revision does "
                         "too; leave one out")
    if not is_hub_id(location):
        raise InputError(f"model {str(reference)!r} of the lm expander: no such folder, and not a Hub id; check the "
                         "path, or write owner/name")
    return location, written or revision or "main", None


def _device(wanted: object) -> str:
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)  # type: ignore[call-overload]
    except Exception as error:  # torch raises of many kinds
        raise InputError(
            f"option device {wanted!r} of the lm expander is not there ({_line(error)}); use auto"
        ) from error
    return str(wanted)


def _line(error: BaseException) -> str:
    return one_line(error, 120)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep loading bars and remarks of transformers off a user's screen."""
    from transformers.utils import logging as remarks

    before, bars = remarks.get_verbosity(), remarks.is_progress_bar_enabled()
    remarks.set_verbosity_error()
    remarks.disable_progress_bar()
    try:
        yield
    finally:
        remarks.set_verbosity(before)
        if bars:
            remarks.enable_progress_bar()
