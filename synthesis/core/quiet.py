"""Libraries that load models in silence; what they would say is heard all the same."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = ("diffusers", "transformers", "peft")
log = logging.getLogger("terrasynth.libraries")


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.remarks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message of a logger."""
        self._keep(record.name, record.getMessage())

    def warn(self, message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        """Keep a warning; takes the place of `warnings.showwarning`."""
        self._keep(category.__name__, str(message))

    def _keep(self, source: str, message: str) -> None:
        remark = " ".join(message.split())
        self.remarks.append(remark)
        log.debug("%s: %s", source, remark)


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep the loading bars of diffusers and transformers off a user's screen; then they are as they were."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Keep the loading bars and remarks of diffusers and transformers off a user's screen.

    Yields:
        The remarks so far, warnings and errors, each on one line: a library that goes on without part of what it was
        given says so there and nowhere else.
    """
    with without_bars():
        heard = _Heard()
        loggers = [logging.getLogger(name) for name in LIBRARIES]
        before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.handlers, logger.propagate = [heard], False
            if logger.getEffectiveLevel() > logging.WARNING:  # every change of a level takes a walk over all loggers
                logger.setLevel(logging.WARNING)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.showwarning = heard.warn
                yield heard.remarks
        finally:
            for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
                logger.handlers, logger.propagate = handlers, propagate
                if logger.level != level:
                    logger.setLevel(level)
