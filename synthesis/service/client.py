"""A client of a server: asks again where the connection broke, and follows events without a gap or a double."""

from __future__ import annotations

import http.client
import ipaddress
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

from typing_extensions import override

from terrasynth.prompts.addresses import shown
from terrasynth.synthesis.core.errors import InputError, RunError, one_line
from terrasynth.synthesis.service.states import ENDED, State

ANSWER_SECONDS, SILENT_SECONDS = 60.0, 60.0  # a stream says something every 15 seconds
PAUSE_SECONDS = 0.5
_GONE = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none: the token is for this server alone."""


class Client:
    """Speaks to a server.

    Args:
        server: Its address, as "http://127.0.0.1:8765".
        token: What it asks for; None for none.
        patience: Seconds for which a server that does not answer is asked again.

    Raises:
        InputError: The address is none.

    Example:
        >>> from terrasynth.synthesis.service.client import Client
        >>> Client("http://127.0.0.1:8765").address("/v1/jobs", {"state": "failed"})
        'http://127.0.0.1:8765/v1/jobs?state=failed'
    """

    def __init__(self, server: str, token: str | None = None, patience: float = 30.0) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"server {shown(server)!r} is no address; write it as http://127.0.0.1:8765")
        self._server, self._patience = server.rstrip("/"), patience
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        # A proxy that the environment names cannot reach this machine's own address.
        proxies = urllib.request.ProxyHandler({} if _is_own(parts.hostname) else None)
        self._opener = urllib.request.build_opener(proxies, _NoRedirect)

    def address(self, path: str, query: Mapping[str, object | None] | None = None) -> str:
        """The address of a path; what is None in the query is left out."""
        given = {key: value for key, value in (query or {}).items() if value is not None}
        return self._server + path + (f"?{urlencode(given)}" if given else "")

    def submit(self, spec: Mapping[str, Any], priority: int = 0, key: str | None = None) -> dict[str, Any]:
        """Create a job: one, however often the connection breaks meanwhile.

        Args:
            priority: Jobs of a higher one are begun first.
            key: Idempotency key; None for a new one.

        Raises:
            InputError: The server refuses it.
            RunError: The server does not answer.
        """
        headers = {"Idempotency-Key": key or uuid.uuid4().hex, "Content-Type": "application/json"}
        address = self.address("/v1/jobs", {"priority": priority} if priority else None)
        return self._json("POST", address, headers, json.dumps(spec).encode())

    def list(self, **query: object | None) -> dict[str, Any]:
        """A page of jobs: `jobs`, and `next` for `before` of the next page; raises as `submit`."""
        return self._json("GET", self.address("/v1/jobs", query))

    def get(self, job: str) -> dict[str, Any]:
        """A job; raises as `submit`."""
        return self._json("GET", self._job(job))

    def cancel(self, job: str) -> dict[str, Any]:
        """Cancel a job; raises as `submit`."""
        return self._json("POST", self._job(job, "/cancel"))

    def retry(self, job: str) -> dict[str, Any]:
        """Retry a job: once, however often the connection breaks meanwhile; raises as `submit`."""
        ended = self.has_ended(job)
        try:
            return self._json("POST", self._job(job, "/retry"))
        except InputError:  # of a second request, where the answer to the first was lost
            found = self.get(job)
            if ended and State(found["state"]) not in ENDED:
                return found
            raise

    def log(self, job: str) -> str:
        """What a job printed; raises as `submit`."""
        with self._answer("GET", self._job(job, "/log"), {}, None) as answer:
            return cast(str, answer.read().decode("utf-8", "replace"))

    def has_ended(self, job: str) -> bool:
        """Whether a job has come to its end, well or not.

        Raises:
            InputError: There is no such job.
            RunError: The server does not answer.
        """
        return State(self.get(job)["state"]) in ENDED

    def follow(self, job: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Events of a job until it has ended: each once and in order, whatever happens to the server meanwhile.

        Args:
            after: Number of the last event that is known already.

        Yields:
            `number`, `type`, `time` and `data`.

        Raises:
            InputError: There is no such job.
            RunError: The server does not answer any more.
        """
        while True:
            headers = {"Last-Event-ID": str(after)} if after else {}
            try:
                with self._answer("GET", self._job(job, "/events"), headers, None, SILENT_SECONDS) as answer:
                    for event in _events(answer):
                        after = event["number"]
                        yield event
            except _GONE:
                pass  # the next request says whether it is gone for good
            if self.has_ended(job) and not self._newer(job, after):
                return
            time.sleep(PAUSE_SECONDS)

    def _newer(self, job: str, after: int) -> bool:
        """Whether there are events after one; a stream that broke off may have kept some back."""
        headers = {"Last-Event-ID": str(after)} if after else {}
        with self._answer("GET", self._job(job, "/events"), headers, None) as answer:
            return bool(answer.status != http.client.NO_CONTENT)

    def _job(self, job: str, below: str = "") -> str:
        return self.address(f"/v1/jobs/{quote(job, safe='')}{below}")

    def _json(
        self, method: str, address: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> dict[str, Any]:
        with self._answer(method, address, headers or {}, body) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def _answer(
        self, method: str, address: str, headers: Mapping[str, str], body: bytes | None, timeout: float = ANSWER_SECONDS
    ) -> Any:  # noqa: ANN401 - what urllib opens
        """An answer; asks again while there is none. Each request may be made twice: a key guards the one that makes.

        Raises:
            InputError: The server refuses the request.
            RunError: It does not answer.
        """
        request = urllib.request.Request(address, body, {**self._headers, **headers}, method=method)
        last = time.monotonic() + self._patience
        while True:
            try:
                return self._opener.open(request, timeout=timeout)
            except urllib.error.HTTPError as error:
                if error.code < http.client.INTERNAL_SERVER_ERROR or time.monotonic() > last:
                    raise _refused(error) from error
            except _GONE as error:
                if time.monotonic() > last:
                    raise RunError(f"server {shown(self._server)!r} does not answer: {one_line(error, 160)}; start it "
                                   "with `terrasynth serve`, or name another with --server") from error
            time.sleep(PAUSE_SECONDS)


def _is_own(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(error: urllib.error.HTTPError) -> InputError | RunError:
    """What a problem document says."""
    try:
        said = str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError, *_GONE):
        said = f"the server answers {error.code} {error.reason}; look at its log"
    return InputError(said) if error.code < http.client.INTERNAL_SERVER_ERROR else RunError(said)


def _events(answer: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - as above
    """Events of a stream; one that was cut off before its end is left out."""
    data: list[str] = []
    for line in answer:
        text = line.decode().rstrip("\n")
        if text.startswith("data:"):
            data.append(text[5:].removeprefix(" "))
        elif not text and data:
            yield json.loads("\n".join(data))
            data = []
