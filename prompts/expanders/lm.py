"""The `lm` expander: prompts that a causal language model of `transformers` writes on this machine."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.language_models.answer_cache import AnswerCache
from terrasynth.prompts.language_models.local import LanguageModel
from terrasynth.prompts.language_models.request import WORDS, CaptionRequests, number
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.types import Prompt, check_request

REVISION = 1  # raise it when this code would give other prompts: it is part of the identity
BATCHES_IN_MEMORY = 1024


class _Batch(NamedTuple):
    """The prompts of `batch` consecutive attempts, and why other answers were refused."""

    texts: tuple[str, ...]
    drops: dict[str, int]


class LMExpander:
    """Prompts that a local or Hub model writes, `batch` consecutive attempts at a time.

    A model with a chat template is asked for a caption; one without goes on from the first words of one. What it wrote
    is checked and repaired by `prompts.language_models.answers`, and a refused attempt is drawn again with other noise.
    All noise comes from (seed, class, attempt, try), and attempts are always computed in the same batches, so that an
    attempt's text depends on nothing else. Another device or version of torch rounds differently, which can change
    words; the option `cache` keeps what was made.

    Attributes:
        costly: True: a prompt takes its time.
    """

    name = "lm"
    costly = True

    def __init__(
        self,
        model: str | Path,
        revision: str | None = None,
        classes: Sequence[str] | None = None,
        profile: str = "open",
        words: int = WORDS,
        examples: Sequence[str] | None = None,
        batch: int = 16,
        tries: int = 8,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 0.95,
        max_new_tokens: int | None = None,
        dtype: str = "auto",
        device: str = "auto",
        cache: str | Path | None = None,
    ) -> None:
        """Find the model and check the options; the weights are loaded for the first prompt.

        Args:
            model: A folder as `save_pretrained` wrote it, or a Hub id with optional @revision; a Hub model is fetched.
            revision: Branch, tag or commit of a Hub model, where `model` has no @revision.
            classes: Labels to serve, of the profile's ontology or any others; None for all of the ontology.
            profile: Ontology that says how classes are called and which words are another class's.
            words: Longest prompt, in words.
            examples: Sentences in the style that is wanted.
            batch: Attempts that are computed together.
            tries: How often an attempt is drawn before its class is given up.
            temperature: Divides the logits.
            top_k: Only so many most likely tokens; 0 for all.
            top_p: Only the most likely tokens that together have this probability; 1 for all.
            max_new_tokens: Longest answer; None for three tokens a word.
            dtype: "auto" (float32 on a CPU, elsewhere that of the weights), "float32", "bfloat16" or "float16".
            device: "auto" or a torch device.
            cache: Folder in which prompts are kept; None keeps the last ones in memory only.

        Raises:
            InputError: The model or its tokenizer cannot be read, or an option's value is refused.
        """
        self._requests = CaptionRequests(self.name, classes, profile, words, examples)
        self.classes = self._requests.classes
        self._batch_size = int(number(self.name, "batch", batch, 1, 4096, whole=True))
        self._tries = int(number(self.name, "tries", tries, 1, 1000, whole=True))
        self._temperature = number(self.name, "temperature", temperature, 0.01, 100)
        self._top_k = int(number(self.name, "top_k", top_k, 0, 10**6, whole=True))
        self._top_p = number(self.name, "top_p", top_p, 0.001, 1)
        longest = 16 + 3 * self._requests.words if max_new_tokens is None else max_new_tokens
        self._max_new_tokens = int(number(self.name, "max_new_tokens", longest, 4, 10**5, whole=True))
        if cache is not None and (not isinstance(cache, str | Path) or not str(cache)):
            raise InputError(f"option cache {cache!r} of the lm expander must be a folder")
        self._model = LanguageModel(model, revision, device, dtype)
        for label in self.classes[:1]:
            self._prompt(label, 0, 0, 0)
        self._cache = None if cache is None else AnswerCache(Path(cache).expanduser(), "lm")
        self._batch = lru_cache(BATCHES_IN_MEMORY)(self._find)
        self._seen: set[tuple[str, int, int]] = set()
        self._drops: dict[str, Counter[str]] = {}

    def identity(self) -> dict[str, object]:
        """Model with precision, sampling, batch and everything that is asked."""
        return {
            "expander": self.name, "revision": REVISION, "model": self._model.identity(), "batch": self._batch_size,
            "temperature": self._temperature, "top_k": self._top_k, "top_p": self._top_p,
            "max_new_tokens": self._max_new_tokens, "asking": self._requests.identity(),
        }

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; `Prompt.scene` is "{}".

        Raises:
            InputError: `label` is not served, or no usable answer came in all tries.
        """
        check_request(self, label, start, count)
        n = self._batch_size
        batches = {b: self._batch(label, seed, b) for b in range(start // n, -(-(start + count) // n))} if count else {}
        texts = (batches[k // n].texts[k % n] for k in range(start, start + count))
        return [Prompt(text, label, (text,), self.name) for text in texts]

    def drops(self, label: str) -> dict[str, int]:
        """How many answers of a class were refused for each reason, among those seen so far."""
        return dict(self._drops.get(label, Counter()))

    def seen(self, label: str) -> int:
        """Answers of a class seen so far, refused ones included."""
        batches = sum(one == label for one, _, _ in self._seen)
        return batches * self._batch_size + sum(self.drops(label).values())

    def _find(self, label: str, seed: int, batch: int) -> _Batch:
        """A batch from the cache folder, or a new one."""
        if self._cache is None:
            made = self._make(label, seed, batch)
        else:
            request = {"identity": self.identity(), "class": label, "seed": seed, "batch": batch}
            with self._cache.locked(request):
                record = self._cache.read(request)
                if record is None:
                    made = self._make(label, seed, batch)
                    self._cache.write(request, made._asdict())
                else:
                    made = _Batch(tuple(record["texts"]), record["drops"])
        if (label, seed, batch) not in self._seen:
            self._seen.add((label, seed, batch))
            self._drops.setdefault(label, Counter()).update(made.drops)
        return made

    def _make(self, label: str, seed: int, batch: int) -> _Batch:
        texts: dict[int, str] = {}
        drops: Counter[str] = Counter()
        waiting = list(range(batch * self._batch_size, (batch + 1) * self._batch_size))
        for attempt in range(self._tries):
            for k, (answer, ended) in zip(waiting, self._answers(label, seed, waiting, attempt), strict=True):
                text, reason = self._requests.judge(label, answer, ended)
                if reason:
                    drops[reason] += 1
                else:
                    texts[k] = text
            waiting = [k for k in waiting if k not in texts]
            if not waiting:
                return _Batch(tuple(texts[k] for k in sorted(texts)), dict(drops))
        reasons = ", ".join(f"{reason} {count}" for reason, count in drops.most_common())
        raise InputError(
            f"model {self._model.name!r} of the lm expander gave no usable prompt for attempt {waiting[0]} of class "
            f"{label!r} in {self._tries} tries (of its batch refused: {reasons}); take another model or more tries"
        )

    def _answers(self, label: str, seed: int, ks: Sequence[int], attempt: int) -> list[tuple[str, bool]]:
        """What the model writes for these attempts, and whether it came to an end."""
        import torch

        from terrasynth.prompts.language_models.sampling import draw, processors

        prompts = [self._prompt(label, seed, k, attempt) for k in ks]
        keys = [_key(self.name, label, seed, k, attempt) for k in ks]
        chain = processors(keys, self._temperature, self._top_k, self._top_p)
        try:
            drawn = draw(self._model.model, [tokens for _, tokens in prompts], chain, self._max_new_tokens,
                         self._model.ends)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"option batch {self._batch_size} of the lm expander does not fit on {self._model.device}; lower it"
            ) from error
        answers = []
        for (start, tokens), row in zip(prompts, drawn, strict=True):
            text = self._model.text(tokens, row.tokens)
            whole = "" if start and text[:1].isalnum() else start + text  # "with" may go on as "without"
            answers.append((whole, row.ended))
        return answers

    def _prompt(self, label: str, seed: int, k: int, attempt: int) -> tuple[str, list[int]]:
        """The first words of the caption that are given, and the tokens that the model sees.

        Raises:
            InputError: They do not fit into the model.
        """
        draws = Draws(self.name, label, seed, k, attempt)
        if self._model.chats:
            start, tokens = "", self._model.request(self._requests.system(), self._requests.one(label, draws))
        else:
            start = self._requests.start(label, draws)
            tokens = self._model.continuation(self._requests.continued(start))
        limit = self._model.limit
        if limit is not None and len(tokens) + self._max_new_tokens > limit:
            raise InputError(
                f"model {self._model.name!r} of the lm expander sees {limit} tokens, and a request takes {len(tokens)} "
                f"with {self._max_new_tokens} for the answer; give fewer examples, fewer words, or another model"
            )
        return start, tokens


def _key(*parts: object) -> int:
    """128 bits from BLAKE2b of the parts."""
    return int.from_bytes(hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest(), "little")
