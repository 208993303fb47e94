"""What the client of the Hub says while it tries again: one line for all tries of a repository, not two for each.

The client logs each failure and each wait before a retry. A filter on its logger turns the first into a line that says
what is going on, and leaves the others out; nothing of the client has to be imported for that.
"""

from __future__ import annotations

import logging
import re

from typing_extensions import override

LOGGER = "huggingface_hub.utils._http"
_FAILED = re.compile(r"(?:'(?P<why>.*)'|HTTP Error (?P<code>\d+)) thrown while requesting \w+ (?P<address>\S+)", re.S)
_REPOSITORY = re.compile(  # of an address of the API, or of a file
    r"\w+://[^/]+/(?:api/)?(?P<kind>models|datasets|spaces)/(?P<id>[^/\s]+/[^/\s?]+)"
    r"|\w+://[^/]+/(?P<model>[^/\s]+/[^/\s]+)/(?:resolve|raw|tree)/")
_WAITING = re.compile(r"(Retrying in|Rate limited\. Waiting) .*\[Retry (\d+)/(\d+)\]", re.S)


class OneLine(logging.Filter):
    """Lets one line through for each repository of which a host does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if _WAITING.search(message):
            return False
        found = _FAILED.search(message)
        if found is None:
            return True
        host = "/".join(found["address"].split("/")[:3])
        asked = f"{host}{_asked(found['address'])}"
        if asked in self._said:
            return False
        self._said.add(asked)
        record.msg, record.args = f"{asked} does not answer ({found['why'] or found['code']}); trying again", ()
        return True


def _asked(address: str) -> str:
    """What the repository of an address is called, as ", asked for model owner/name,"; "" where it names none."""
    found = _REPOSITORY.match(address)
    if found is None:
        return ""
    kind = {"datasets": "data set", "spaces": "space"}.get(found["kind"] or "models", "model")
    return f", asked for {kind} {found['id'] or found['model']},"


def say_retries_once() -> None:
    """Put the filter on the client's logger, once."""
    logger = logging.getLogger(LOGGER)
    if not any(isinstance(each, OneLine) for each in logger.filters):
        logger.addFilter(OneLine())
