"""The `openai` expander: prompts from any OpenAI-compatible endpoint, every answer kept and paid for once."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from terrasynth.prompts.addresses import is_secret
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.language_models.answer_cache import AnswerCache, default_folder
from terrasynth.prompts.language_models.answer_json import READING, captions_in
from terrasynth.prompts.language_models.chat import DEFAULT_KEY, DEFAULT_URL, Backoff, Chat
from terrasynth.prompts.language_models.prices import Forecast, Price, mean_usage, price_of
from terrasynth.prompts.language_models.request import WORDS, CaptionRequests, number
from terrasynth.prompts.language_models.spending import Spending, Usage, usage_of, worst_case
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.types import Prompt, check_request

REVISION = 1  # raise it when this code would give other prompts: it is part of the identity
GROUPS_IN_MEMORY = 1024
LIMITS = ("max_tokens", "max_completion_tokens")  # OpenAI's newer models know only the second, many servers the first
FIXED = frozenset({"model", "messages", "stream", "n"})
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "captions",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"captions": {"type": "array", "items": {"type": "string"}}},
            "required": ["captions"],
            "additionalProperties": False,
        },
    },
}

log = logging.getLogger("terrasynth")


class _Group(NamedTuple):
    """The prompts of `per_request` consecutive attempts, and why other answers were refused."""

    texts: tuple[str, ...]
    drops: Counter[str]


class OpenAIExpander:
    """Prompts that a model behind an OpenAI-compatible endpoint writes, `per_request` consecutive attempts at a time.

    What the model wrote is checked and repaired by `prompts.language_models.answers`; for places that are refused or
    missing it is asked again. Every answer is stored before it is used, also a useless one, so the same request is paid
    for once; the prompts are those of the cache folder, and another machine gets the same ones with a copy of it.

    Attributes:
        costly: True: a prompt takes time and money.
        backoff: How long to wait before retries.
    """

    name = "openai"
    costly = True
    backoff = Backoff()

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str = DEFAULT_KEY,
        classes: Sequence[str] | None = None,
        profile: str = "open",
        words: int = WORDS,
        examples: Sequence[str] | None = None,
        per_request: int = 8,
        tries: int = 4,
        temperature: float | None = 1.0,
        max_tokens: int | None = None,
        request: Mapping[str, Any] | None = None,
        timeout: float = 60,
        retries: int = 6,
        token_budget: int | None = None,
        cost_budget: float | None = None,
        price_in: float | None = None,
        price_out: float | None = None,
        cache: str | Path | None = None,
    ) -> None:
        """Check the options; the endpoint is contacted when a prompt is needed that is not in the cache.

        Args:
            model: What the endpoint calls the model.
            base_url: Address up to /v1; None for $OPENAI_BASE_URL or OpenAI's own.
            api_key_env: Name of the environment variable that holds the key; the key itself is stored nowhere.
            classes: Labels to serve, of the profile's ontology or any others; None for all of the ontology.
            profile: Ontology that says how classes are called and which words are another class's.
            words: Longest prompt, in words.
            examples: Sentences in the style that is wanted.
            per_request: Prompts of one request.
            tries: How often prompts are asked for before a class is given up.
            temperature: Of the model; None leaves it out of the request.
            max_tokens: Longest answer; None for what the prompts need four times.
            request: Further fields of the request; a field that is None is left out of it, such as {seed: null}.
            timeout: Seconds to wait for a connection, for the first byte and for the rest of an answer.
            retries: How often a request is sent again after a failure that may pass.
            token_budget: Most tokens, read and written, of all answers in the cache folder; None for no cap.
            cost_budget: Most money for all answers in the cache folder; needs both prices.
            price_in: Price of a million tokens that are read.
            price_out: Price of a million tokens that are written.
            cache: Folder of the answers; None for `terrasynth/answers` in the user's cache folder.

        Raises:
            InputError: An option's value is refused, or the package `openai` is missing.
        """
        if not isinstance(model, str) or not model.strip():
            raise InputError(f"option model {model!r} of the openai expander must be the name of a model")
        if not isinstance(api_key_env, str) or not api_key_env.isidentifier():
            # not quoted: it may be the key itself
            raise InputError("option api_key_env of the openai expander must be the name of an environment variable")
        self._requests = CaptionRequests(self.name, classes, profile, words, examples)
        self.classes = self._requests.classes
        self._model = model.strip()
        self._per_request = int(number(self.name, "per_request", per_request, 1, 100, whole=True))
        self._tries = int(number(self.name, "tries", tries, 1, 1000, whole=True))
        enough = 100 + 4 * self._per_request * self._requests.words if max_tokens is None else max_tokens
        self._chat = Chat(
            base_url, api_key_env, number(self.name, "timeout", timeout, 0.01, 86400),
            int(number(self.name, "retries", retries, 0, 100, whole=True)), self.backoff,
        )
        self._fields = self._checked_fields(temperature, enough, request)
        limits = [self._fields[name] for name in LIMITS if isinstance(self._fields.get(name), int)]
        if not limits:
            raise InputError(f"option request {request!r} of the openai expander leaves no limit of tokens; keep one")
        self._max_tokens = max(limits)
        self._cache = AnswerCache(_folder(cache), "chat")
        self._price = None if price_in is None or price_out is None else Price(price_in, price_out, "as set")
        self._spending = _spending(self._cache, token_budget, cost_budget, price_in, price_out)
        self._group = lru_cache(GROUPS_IN_MEMORY)(self._make)
        self._seen: set[tuple[str, int, int]] = set()
        self._drops: dict[str, Counter[str]] = {}
        self._announced = False

    def identity(self) -> dict[str, object]:
        """Model, endpoint and everything that is asked; no key, no limits of time or money."""
        return {
            "expander": self.name, "revision": REVISION, "model": self._model, "endpoint": self._chat.endpoint,
            "per_request": self._per_request, "request": self._fields, "asking": self._requests.identity(),
        }

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; `Prompt.scene` is "{}".

        Raises:
            InputError: `label` is not served, a budget is spent, the endpoint refuses or does not answer, or no usable
                answer came in all tries.
        """
        check_request(self, label, start, count)
        n = self._per_request
        groups = {g: self._group(label, seed, g) for g in range(start // n, -(-(start + count) // n))} if count else {}
        texts = (groups[k // n].texts[k % n] for k in range(start, start + count))
        return [Prompt(text, label, (text,), self.name) for text in texts]

    def drops(self, label: str) -> dict[str, int]:
        """How many answers of a class were refused for each reason, among those seen so far."""
        return dict(self._drops.get(label, Counter()))

    def seen(self, label: str) -> int:
        """Answers of a class seen so far, refused ones included."""
        groups = sum(one == label for one, _, _ in self._seen)
        return groups * self._per_request + sum(self.drops(label).values())

    def forecast(self, seed: int, least: Mapping[str, int], most: Mapping[str, int]) -> Forecast:
        """What the first prompts of each class will cost; asks for nothing.

        Args:
            seed: As of `expand`.
            least: Prompts of each class, at the least.
            most: At the most.
        """
        used = list[Usage]()
        for label in most:
            request, _ = self._request(label, seed, 0, 0, self._per_request)
            if (known := usage_of((self._cache.read(request) or {}).get("usage"))) is not None:
                used.append(known)
        price = self._price or (price_of(self._model) if self._chat.endpoint == DEFAULT_URL else None)
        return Forecast(self._unpaid(seed, least), self._unpaid(seed, most), mean_usage(used), len(used),
                        f"{self._model} at {self._chat.endpoint}", price)

    def _unpaid(self, seed: int, wanted: Mapping[str, int]) -> int:
        """How many requests for so many prompts of each class are not answered in the cache."""
        requests = (self._request(label, seed, group, 0, self._per_request)[0] for label, count in wanted.items()
                    for group in range(-(-count // self._per_request)))
        return sum(not self._cache.path(request).is_file() for request in requests)

    def _checked_fields(
        self, temperature: float | None, max_tokens: int, request: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """The fields of every request beside model, messages and seed; None where one is left out."""
        if temperature is not None:
            temperature = number(self.name, "temperature", temperature, 0, 2)
        number(self.name, "max_tokens", max_tokens, 1, 10**6, whole=True)
        given = {} if request is None else request
        if not isinstance(given, Mapping) or FIXED & given.keys() or not _is_json(given):
            raise InputError(
                f"option request {request!r} of the openai expander must hold fields of a request as JSON, "
                f"other than {', '.join(sorted(FIXED))}"
            )
        if secret := next(filter(is_secret, _names(given)), None):
            raise InputError(
                f"option request of the openai expander has the field {secret!r}; keys and passwords belong into "
                "environment variables (option api_key_env), since recipes are published"
            )
        limit = LIMITS[1] if self._chat.own else LIMITS[0]
        return {"temperature": temperature, limit: max_tokens, "response_format": SCHEMA, **given}

    def _make(self, label: str, seed: int, group: int) -> _Group:
        texts: list[str] = []
        drops: Counter[str] = Counter()
        wanted = self._per_request
        for attempt in range(self._tries):
            record = self._answer(label, seed, group, attempt, min(wanted, self._per_request - len(texts)))
            answers, problem = _captions(record)
            for answer in answers:
                if len(texts) == self._per_request:
                    break
                verdict = self._requests.judge(label, answer)
                reason = verdict.reason or ("repeated" if verdict.text in texts else "")
                if reason:
                    drops[reason] += 1
                else:
                    texts.append(verdict.text)
            if problem:
                drops[problem] += 1
            if len(texts) == self._per_request:
                return self._counted(label, seed, group, _Group(tuple(texts), drops))
            if problem == "cut off":
                wanted = max(1, wanted // 2)
        reasons = ", ".join(f"{reason} {number}" for reason, number in drops.most_common()) or "too few answers"
        raise InputError(
            f"model {self._model!r} of the openai expander gave {len(texts)} of {self._per_request} prompts for class "
            f"{label!r} in {self._tries} requests (refused: {reasons}); take another model, other words or more tries"
        )

    def _counted(self, label: str, seed: int, group: int, made: _Group) -> _Group:
        if (label, seed, group) not in self._seen:
            self._seen.add((label, seed, group))
            self._drops.setdefault(label, Counter()).update(made.drops)
        return made

    def _answer(self, label: str, seed: int, group: int, attempt: int, count: int) -> Mapping[str, Any]:
        """The record of a request, from the cache or paid for."""
        request, body = self._request(label, seed, group, attempt, count)
        record = self._cache.read(request)
        if record is not None:
            return record
        with self._cache.locked(request):  # another process may have paid for it in the meantime
            return self._cache.read(request) or self._pay(request, body)

    def _request(
        self, label: str, seed: int, group: int, attempt: int, count: int
    ) -> tuple[dict[str, object], dict[str, Any]]:
        """What decides an answer, and what is sent."""
        places = range(group * self._per_request, group * self._per_request + count)
        draws = [Draws(self.name, label, seed, k, attempt) for k in places]
        body = {
            "model": self._model,
            "messages": [{"role": "system", "content": self._requests.system()},
                         {"role": "user", "content": self._requests.several(label, draws)}],
            "seed": Draws(self.name, label, seed, group, attempt, "seed").below(2**31),
            **self._fields,
        }
        body = {name: value for name, value in body.items() if value is not None}
        request = {"endpoint": self._chat.endpoint, "body": body, "class": label, "seed": seed, "group": group,
                   "try": attempt}
        return request, body

    def _pay(self, request: Mapping[str, object], body: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._announced:
            self._announced = True
            log.warning("openai expander: asking %s for model %s", self._chat.endpoint, self._model)
        worst = worst_case(body, self._max_tokens)
        made = f"there are {len(self._seen) * self._per_request} prompts so far"
        reply = self._chat.complete(
            body, lambda: self._spending.reserve(request, worst, made), lambda: self._spending.release(request, worst)
        )
        usage = usage_of(reply.usage)
        record = {
            "content": reply.content, "finish_reason": reply.finish_reason, "usage": (usage or worst)._asdict(),
            "usage_stated": usage is not None, "lost": self._spending.lost(request), "worst": worst._asdict(),
            "reading": READING,
        }
        self._cache.write(request, record)
        self._spending.settle(request)
        return record


def _captions(record: Mapping[str, Any]) -> tuple[list[str], str]:
    """The answers of a record, or why it has none."""
    if record.get("finish_reason") == "length":
        return [], "cut off"
    if record.get("finish_reason") == "content_filter":
        return [], "refused by the endpoint"
    captions = captions_in(str(record.get("content")), READING if record.get("reading") == READING else 1)
    return ([], "invalid JSON") if captions is None else (captions, "")


def _names(node: object) -> Iterator[str]:
    """The names of all fields."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield str(name)
            yield from _names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _names(value)


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _folder(cache: object) -> Path:
    if cache is None:
        return default_folder()
    if not isinstance(cache, str | Path) or not str(cache):
        raise InputError(f"option cache {cache!r} of the openai expander must be a folder")
    return Path(cache).expanduser()


def _spending(
    cache: AnswerCache, token_budget: int | None, cost_budget: float | None, price_in: float | None,
    price_out: float | None,
) -> Spending:
    if token_budget is not None:
        number("openai", "token_budget", token_budget, 0, 10**15, whole=True)
    for option, value in (("cost_budget", cost_budget), ("price_in", price_in), ("price_out", price_out)):
        if value is not None:
            number("openai", option, value, 0, 10**9)
    if cost_budget is not None and (price_in is None or price_out is None):
        raise InputError(
            f"option cost_budget {cost_budget} of the openai expander needs price_in and price_out, "
            "the prices of a million tokens"
        )
    return Spending(cache, token_budget, cost_budget, price_in, price_out)
