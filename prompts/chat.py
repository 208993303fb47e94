"""Talking to an OpenAI-compatible endpoint: time limits, retries with backoff, errors of one line."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from prompts.errors import InputError

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAI

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_KEY = "OPENAI_API_KEY"
RETRIED = frozenset({408, 409, 429})  # and every 5xx
LARGEST_ANSWER = 16 * 2**20  # bytes


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


class _Failed(Exception):
    """A request that may be sent again."""

    def __init__(self, problem: str, paid: bool, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.paid = paid
        self.retry_after = retry_after


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
                "install it with: pip install 'terrasynth[openai]'"
            ) from error
        self._url = base_url or os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL
        self.endpoint = _bare(self._url)
        self._key_variable = key_variable
        self._timeout, self._retries, self._backoff, self._sleep = timeout, retries, backoff, sleep
        self._client: OpenAI | None = None
        self._secrets: tuple[str, ...] = ()

    @property
    def own(self) -> bool:
        """Whether the endpoint is OpenAI's own."""
        return urlsplit(self.endpoint).hostname == urlsplit(DEFAULT_URL).hostname

    def complete(self, body: Mapping[str, Any], before: Callable[[], None], unpaid: Callable[[], None]) -> Reply:
        """Send a request until it is answered.

        Args:
            body: The fields of the request.
            before: Called before each sending.
            unpaid: Called after a sending that is certainly not paid for.

        Raises:
            InputError: The endpoint refuses the request, or has not answered it after all retries.
        """
        client = self._open()
        for retry in range(self._retries + 1):
            before()
            try:
                return self._send(client, body)
            except InputError:
                unpaid()
                raise
            except _Failed as failure:
                if not failure.paid:
                    unpaid()
                if retry == self._retries:
                    raise InputError(
                        f"endpoint {self.endpoint} of the openai expander gave no answer in {retry + 1} attempts, the "
                        f"last one: {self._safe(str(failure))}; check it and run again: answers that are in the cache "
                        "are not paid for again"
                    ) from None
                self._sleep(self._backoff.wait(retry, failure.retry_after))
        raise AssertionError("unreachable")

    def _open(self) -> OpenAI:
        if self._client is None:
            from openai import OpenAI

            key = os.environ.get(self._key_variable, "").strip()
            if not key and (self.own or self._key_variable != DEFAULT_KEY):
                raise InputError(
                    f"environment variable {self._key_variable!r} holds no key for {self.endpoint}; "
                    "set it, or name another one with the option api_key_env"
                )
            if not (key.isascii() and key.isprintable()):
                raise InputError(f"environment variable {self._key_variable!r} holds no key: it has unprintable signs")
            parts = urlsplit(self._url)
            self._secrets = tuple(one for one in (key, parts.password, self._url) if one and one != self.endpoint)
            self._client = OpenAI(api_key=key or "none", base_url=self._url, timeout=self._timeout, max_retries=0)
        return self._client

    def _send(self, client: OpenAI, body: Mapping[str, Any]) -> Reply:
        import openai

        fields = dict(body)
        model, messages = fields.pop("model"), fields.pop("messages")
        try:
            with client.chat.completions.with_streaming_response.create(
                model=model, messages=messages, extra_body=fields
            ) as response:
                data = self._body(response.iter_bytes())
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except openai.APITimeoutError as error:
            unsent = type(error.__cause__).__name__ == "ConnectTimeout"
            raise _Failed(f"no answer in {self._timeout:g} s", paid=not unsent) from None
        except openai.APIConnectionError as error:
            unsent = type(error.__cause__).__name__ == "ConnectError"
            raise _Failed(f"no connection ({error.__cause__ or error})", paid=not unsent) from None
        return _reply(data)

    def _body(self, chunks: Any) -> bytes:  # noqa: ANN401 - an iterator of bytes
        end = time.monotonic() + self._timeout
        data = b""
        try:
            for chunk in chunks:
                data += chunk
                if time.monotonic() > end or len(data) > LARGEST_ANSWER:
                    raise _Failed(f"an answer that did not end in {self._timeout:g} s", paid=True)
        except _Failed:
            raise
        except Exception as error:  # whatever the transport of the installed version raises
            raise _Failed(f"an answer cut off after {len(data)} bytes ({type(error).__name__})", paid=True) from None
        return data

    def _refused(self, error: APIStatusError) -> Exception:
        status = error.status_code
        said = self._safe(_message(error))
        exhausted = getattr(error, "code", None) == "insufficient_quota"
        if (status in RETRIED or status >= 500) and not exhausted:
            return _Failed(f"status {status} ({said})", paid=False, retry_after=_retry_after(error.response.headers))
        advice = {401: f"check the key in {self._key_variable!r}", 403: f"check the rights of the key in "
                  f"{self._key_variable!r}", 404: "check the options model and base_url",
                  429: "pay the account up, or use another key"}
        return InputError(
            f"endpoint {self.endpoint} refused the request with status {status} ({said}); "
            f"{advice.get(status, 'check the options model and request')}"
        )

    def _safe(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = " ".join(text.split())
        return text if len(text) <= 200 else f"{text[:200]}..."


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


def _reply(data: bytes) -> Reply:
    try:
        answer = json.loads(data)
        choice = answer["choices"][0]
        content, reason = choice["message"].get("content"), choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _Failed(f"an answer of {len(data)} bytes that is no chat completion", paid=True) from None
    return Reply(content if isinstance(content, str) else "", str(reason or "stop"), answer.get("usage"))


def _message(error: APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(error.message)


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
