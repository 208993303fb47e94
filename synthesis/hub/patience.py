"""Asking the Hugging Face Hub again when it fails for a while, and saying in one line why it refuses for good."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from terrasynth.errors import shortened
from terrasynth.synthesis.core.errors import InputError, RunError, one_line

Answer = TypeVar("Answer")
log = logging.getLogger("terrasynth")
TRIES = 6
FIRST_WAIT, LONGEST_WAIT, LONGEST_PAUSE = 1.0, 60.0, 300.0  # seconds; a pause is what the Hub itself asks for
SILENCE = 120.0  # seconds without a byte
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
AGAIN = "run the same command again: what was sent is not sent twice"


class UnreachableError(RunError):
    """Nothing answers at the address of the Hub."""


class Patience:
    """Asks again, a bounded number of times.

    Args:
        say: Told when there is a wait of some length.
        tries: How often it asks in all.
    """

    def __init__(self, endpoint: str, repository: str, say: Callable[[str], None], tries: int = TRIES) -> None:
        self.endpoint, self.repository, self._say, self._tries = endpoint, repository, say, tries

    def __call__(self, call: Callable[[], Answer], passes: Callable[[BaseException], bool] | None = None) -> Answer:
        """Call until it answers.

        Args:
            passes: Whether an error is worth another try; by default what the Hub or the network get over.

        Raises:
            InputError: The token, the repository's name or its owner is wrong.
            RunError: The Hub or the network did not recover, or the Hub refuses.
        """
        for number in range(self._tries):
            try:
                limit_silence()
                return call()
            except Exception as error:
                cause = root_cause(error)
                pause = retry_after(cause)
                if not (passes or is_passing)(cause) or number == self._tries - 1 or (pause or 0) > LONGEST_PAUSE:
                    told = self.explained(cause)
                    if told is error:
                        raise
                    raise told from error
                self.wait(number, pause)
        raise AssertionError("the last try returns or raises")

    def wait(self, number: int, pause: float | None) -> None:
        """Wait before try `number + 2`: as long as the Hub asks, else twice as long as before."""
        seconds = min(LONGEST_WAIT, FIRST_WAIT * 2**number) if pause is None else pause
        if seconds > 5:
            self._say(f"waiting {seconds:.0f} s for {self.repository} at {self.endpoint}")
        time.sleep(seconds)

    def explained(self, error: BaseException) -> Exception:
        """An error of the Hub or the network as one line with its way out; errors of another kind as they are."""
        status, where = status_of(error), f"{self.repository} at {self.endpoint}"
        if isinstance(error, InputError | RunError) or not isinstance(error, Exception):
            return error if isinstance(error, Exception) else RuntimeError(one_line(error))
        if status == 401:
            return InputError(f"{where}: the token is not accepted (401); set HF_TOKEN to one with write access "
                              f"from {self.endpoint}/settings/tokens, or run `hf auth login`")
        if status == 403:
            return InputError(f"the token may not write {where} (403{_message(error)}); use one with write access, "
                              "or another --repo")
        if status == 404:
            return InputError(f"{where} does not exist, or the token may not see it (404); check --repo and --revision")
        if status in (409, 412):
            return RunError(f"another push to {where} came in between ({status}{_message(error)}); nothing of this one "
                            f"was committed; {AGAIN}")
        if status == 413:
            return RunError(f"{where}: a request is too large (413); lower output.rows_per_shard in the "
                            "recipe, run it again, and push")
        if status == 429:
            pause = retry_after(error)
            wait = "some minutes" if pause is None else f"{pause:.0f} s"
            return RunError(f"{where}: requests are limited (429); wait {wait}, then {AGAIN}")
        if status is not None and status >= 500:
            return RunError(f"{where} fails ({status}) after {TRIES} tries; {AGAIN}")
        if status is not None:
            return RunError(f"{where} refused a request ({status}{_message(error)})")
        if "offline" in type(error).__name__.lower():
            return InputError(f"{self.repository}: HF_HUB_OFFLINE is set, so nothing is contacted; unset it to push")
        if is_garbled(error):
            return RunError(f"{where} gave {TRIES} times an answer that is none of the Hub's "
                            f"({type(error).__name__}: {one_line(error, 100)}): a proxy or a log-in page may have "
                            f"given it; check HF_ENDPOINT and the network, then {AGAIN}")
        if is_passing(error):
            return UnreachableError(f"{self.repository}: no connection to {self.endpoint} ({one_line(error, 120)}); "
                                    f"check the network, then {AGAIN}")
        if isinstance(error, OSError) and error.errno is not None:
            return error  # of a file of this machine
        if isinstance(error, ValueError):
            return InputError(f"{self.repository}: {one_line(error, 200)}")
        return RunError(f"{where}: {one_line(error, 160)} ({type(error).__name__}); {AGAIN}")


@contextmanager
def insisting(patient: Patience) -> Iterator[None]:
    """Within this, each request of `huggingface_hub`'s client to the Hub is made again when it fails for a while.

    For reading alone. Libraries that read make many requests of which one may not fail; asking them again as a whole
    would need luck with all of these at once.
    """
    from huggingface_hub import get_session

    session = get_session()
    send, network = session.send, _network_error()

    def patiently(request: Any, **options: Any) -> Any:  # noqa: ANN401 - of a client that differs by version
        for number in range(TRIES - 1 if str(request.url).startswith(patient.endpoint) else 0):
            pause = None
            try:
                answer = send(request, **options)
                pause = _pause(answer.headers)
                if answer.status_code not in PASSING or (pause or 0) > LONGEST_PAUSE:
                    return answer
                answer.close()
            except network as error:
                log.debug("%s: %s", request.url, one_line(error))
            patient.wait(number, pause)
        return send(request, **options)

    session.send = patiently  # type: ignore[method-assign]
    try:
        yield
    finally:
        del session.send


def limit_silence() -> None:
    """Let the client of `huggingface_hub` give up on a connection over which nothing comes; by itself it waits."""
    from huggingface_hub import get_session

    get_session().timeout = SILENCE


def is_passing(error: BaseException) -> bool:
    """Whether the Hub or the network may get over it: overload, a lost connection, an answer cut short."""
    status = status_of(error)
    if status is not None:
        return status in PASSING
    network = isinstance(error, _network_error()) or type(error) in (ConnectionError, TimeoutError)
    return network or is_garbled(error)


def is_garbled(error: BaseException) -> bool:
    """Whether the client of `huggingface_hub` could make nothing of an answer: it is no JSON, or lacks what it reads.

    What is wrong with a name or a file of ours has to be found before it is sent: the same classes of error tell it.
    """
    from huggingface_hub.errors import HFValidationError

    if isinstance(error, HFValidationError | InputError) or status_of(error) is not None:
        return False
    return isinstance(error, (ValueError, KeyError, IndexError, TypeError, AttributeError))


def may_pass(error: BaseException) -> bool:
    """The same for reading: a file that was just written may take a moment to be seen everywhere."""
    return is_passing(error) or (isinstance(error, OSError) and status_of(error) in (None, 404))


def root_cause(error: BaseException) -> BaseException:
    """The error of the Hub or the network below what `huggingface_hub` wraps it in."""
    found: BaseException | None = error
    while found is not None and status_of(found) is None:
        if isinstance(found.__cause__, Exception) and type(found) in (RuntimeError, ValueError):
            found = found.__cause__
        else:
            break
    return found or error


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error stands for, or None."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def retry_after(error: BaseException) -> float | None:
    """Seconds that the Hub asks to wait with a refusal, or None."""
    return _pause(getattr(getattr(error, "response", None), "headers", None) or {})


def _pause(headers: Mapping[str, str]) -> float | None:
    """From `Retry-After` (seconds or a date), else from `RateLimit`."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    text = (headers.get("Retry-After") or "").strip()
    if text.isdigit():
        return float(text)
    if text:
        try:
            return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
        except (TypeError, ValueError):
            return None
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def _network_error() -> type[Exception]:
    """What the client that this version of `huggingface_hub` uses raises for all that is no answer."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__mro__[1]
    return base


def _message(error: BaseException) -> str:
    message = getattr(error, "server_message", None)
    return f": {shortened(' '.join(str(message).split()), 160)}" if message else ""
