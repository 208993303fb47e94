"""Talking to an OpenAI-compatible endpoint: keys, retries with backoff, errors of one line."""

from __future__ import annotations

import json
import os
import random
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit, urlunsplit

from terrasynth.errors import how_to_install, shortened
from terrasynth.prompts.addresses import HIDDEN, shown, without_keys
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.language_models.exchange import Address, Failure, Refusal, exchange

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_KEY = "OPENAI_API_KEY"
RETRIED = frozenset({408, 409, 429})  # and every 5xx
SPOILT = "\ufffd"  # stands for a secret in an answer; no caption may have it


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a retry: full jitter under a bound that doubles (Brooker, AWS Architecture Blog, 2015).

    Attributes:
        base: Bound of the first wait, seconds.
        ceiling: Longest wait, seconds, even where the server asks for more.
    """

    base: float = 1.0
    ceiling: float = 60.0

    def wait(self, retry: int, retry_after: float | None = None) -> float:
        """Seconds before retry number `retry`, from 0: at least what the server asked for."""
        jitter = random.uniform(0, min(self.ceiling, self.base * 2**retry))
        return min(self.ceiling, max(jitter, retry_after or 0.0))


@dataclass(frozen=True)
class Reply:
    """An answer of the endpoint.

    Attributes:
        content: What the model wrote; "" where it wrote nothing.
        finish_reason: "stop", "length" (cut off), "content_filter", or what else the endpoint says.
        usage: As the endpoint states it; None where it does not.
    """

    content: str
    finish_reason: str
    usage: object


class _Failure(NamedTuple):
    """Why a request may be sent again, and how long the endpoint asks to wait."""

    problem: str
    retry_after: float | None


class Chat:
    """The chat completions of an endpoint.

    Attributes:
        endpoint: Its address without user name, password and query.
    """

    def __init__(
        self, base_url: str | None, key_variable: str, timeout: float, retries: int, backoff: Backoff,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Check the options; nothing is contacted, and the key is read when the first request is sent.

        Args:
            base_url: Address up to /v1; None for $OPENAI_BASE_URL or OpenAI's own.
            key_variable: Name of the environment variable that holds the key.
            timeout: Seconds to wait for a connection, for the first byte and for the whole rest of an answer.
            retries: How often to send a request again.
            backoff: How long to wait in between.
            sleep: Waits so many seconds.

        Raises:
            InputError: The package `openai` is missing, or the address is none.
        """
        try:
            import openai  # noqa: F401
        except ImportError as error:
            raise InputError(
                "the openai expander needs the package openai, which is not installed; "
                f"{how_to_install('openai')}"
            ) from error
        self._url = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        self.endpoint = _bare(self._url)
        self._key_variable = key_variable
        self._timeout, self._retries, self._backoff, self._sleep = timeout, retries, backoff, sleep
        self._address: Address | None = None
        self._secrets: tuple[str, ...] = ()

    @property
    def own(self) -> bool:
        """Whether the endpoint is OpenAI's own."""
        return urlsplit(self.endpoint).hostname == urlsplit(DEFAULT_URL).hostname

    def complete(self, body: Mapping[str, Any], before: Callable[[], None], unpaid: Callable[[], None]) -> Reply:
        """Send a request until it is answered.

        Args:
            before: Called before each sending.
            unpaid: Called after a sending that is certainly not paid for.

        Raises:
            InputError: The endpoint refuses the request, or has not answered it after all retries.
        """
        address = self._open()
        for retry in range(self._retries + 1):
            before()
            try:
                return self._reply(exchange(address, body))
            except Refusal as refusal:
                unpaid()
                failure = self._refused(refusal)
            except Failure as error:
                failure = _Failure(str(error), retry_after=None)
                if not error.sent:
                    unpaid()
            if retry == self._retries:
                raise InputError(
                    f"endpoint {self.endpoint} of the openai expander gave no answer in {retry + 1} attempts, the "
                    f"last one: {self._safe(failure.problem)}; check it and run again: answers that are in the cache "
                    "are not paid for again"
                )
            self._sleep(self._backoff.wait(retry, failure.retry_after))
        raise AssertionError("unreachable")

    def _open(self) -> Address:
        if self._address is None:
            key = os.environ.get(self._key_variable, "").strip()
            if not key and (self.own or self._key_variable != DEFAULT_KEY):
                raise InputError(
                    f"environment variable {self._key_variable!r} holds no key for {self.endpoint}; "
                    "set it, or name another one with the option api_key_env"
                )
            if not (key.isascii() and key.isprintable()):
                raise InputError(f"environment variable {self._key_variable!r} holds no key: it has unprintable signs")
            parts = urlsplit(self._url)
            values = [value for _, value in parse_qsl(parts.query)]
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            basic = b64encode(f"{user}:{password}".encode()).decode() if user else ""
            known = (key, parts.password, password, basic, "" if password else user, *values, self._url)
            found = {one for one in known if one and one != self.endpoint}
            self._secrets = tuple(sorted(found, key=len, reverse=True))
            self._address = Address(self._url, key or "none", self._timeout)
        return self._address

    def _refused(self, refusal: Refusal) -> _Failure:
        """What follows from a refusal.

        Raises:
            InputError: It is for good.
        """
        status = refusal.status
        if 300 <= status < 400 and "location" in refusal.headers:
            target = shown(self._safe(urljoin(f"{self.endpoint}/", refusal.headers["location"])))
            raise InputError(
                f"endpoint {self.endpoint} answers with a redirect ({status}) to {target}; nothing is sent there: set "
                "base_url to that address if it is the right one"
            )
        message, code = _message(refusal.body)
        said = self._safe(message)
        if (status in RETRIED or status >= 500) and code != "insufficient_quota":
            return _Failure(f"status {status} ({said})", _retry_after(refusal.headers))
        advice = {401: f"check the key in {self._key_variable!r}", 403: f"check the rights of the key in "
                  f"{self._key_variable!r}", 404: "check the options model and base_url",
                  429: "pay the account up, or use another key"}
        raise InputError(
            f"endpoint {self.endpoint} refused the request with status {status} ({said}); "
            f"{advice.get(status, 'check the options model and request')}"
        )

    def _reply(self, data: bytes) -> Reply:
        """What an answer says.

        Raises:
            Failure: It is no chat completion.
        """
        try:
            answer = json.loads(data)
            choice = answer["choices"][0]
            content, reason = choice["message"].get("content"), choice.get("finish_reason")
            usage = answer.get("usage")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Failure(f"an answer of {len(data)} bytes that is no chat completion", sent=True) from None
        if isinstance(content, list):  # parts, as some servers have them
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        text = content if isinstance(content, str) else ""
        text = without_keys(text, self._secrets, SPOILT)  # what a server sends back of them is not stored
        return Reply(text, str(reason or "stop")[:40], usage)

    def _safe(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = " ".join("".join(sign if sign.isprintable() or sign.isspace() else " " for sign in text).split())
        return shortened(text, 200)


def _bare(url: object) -> str:
    """An address without credentials and query."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        host, port = (parts.hostname, parts.port) if parts else (None, None)
    except ValueError:
        host = None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        raise InputError("option base_url of the openai expander must be an address such as http://localhost:8000/v1")
    where = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{where}:{port}" if port else where, parts.path.rstrip("/"), "", ""))


def _message(body: bytes) -> tuple[str, str]:
    """What a refusal says, and its code; both may be empty."""
    text = body.decode("utf-8", "replace")
    try:
        error = json.loads(text)
    except (ValueError, RecursionError):
        return text, ""
    error = error.get("error", error) if isinstance(error, dict) else error
    if not isinstance(error, dict):
        return text, ""
    message = error.get("message")
    return (message if isinstance(message, str) else text), str(error.get("code") or "")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, section 10.2.3: seconds or a date)."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
