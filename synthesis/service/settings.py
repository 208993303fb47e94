"""What a server is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.references import Places

SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class ServiceSettings:
    """What a server is started with.

    Attributes:
        runs: The data root; every run directory directly inside is a data set.
        host: Address to listen on.
        port: Port to listen on; 0 for one that is free.
        token: What a client has to show; None for no check, on the loopback address alone.
        places: What requests may name.
        streams: Most streams of events that are open at once.
        body_bytes: Longest body of a request.
        body_seconds: Longest time that a body may take to arrive.
        wait_seconds: How long a request waits for a short job unless it says so itself.

    Example:
        >>> from pathlib import Path
        >>> from terrasynth.synthesis.service.settings import ServiceSettings
        >>> settings = ServiceSettings(Path("runs"))
        >>> settings.loopback, settings.port
        (True, 8765)
    """

    runs: Path
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    places: Places = field(default_factory=Places)
    streams: int = 64
    body_bytes: int = 2**20
    body_seconds: float = 20.0
    wait_seconds: float = 120.0

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    def check(self) -> None:
        """Check that a server may be started with these.

        Raises:
            InputError: It would listen beyond this machine without a token, or the token is short.
        """
        if self.token is None and not self.loopback:
            raise InputError(f"host {self.host!r} is reached from other machines, and there is no token; give "
                             "--token-file or TERRASYNTH_TOKEN (`terrasynth serve --new-token` makes one), or listen "
                             "on 127.0.0.1")
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise InputError(f"the token has {len(self.token)} characters, and {SHORTEST_TOKEN} are the fewest; "
                             "`terrasynth serve --new-token` makes one")


def is_loopback(host: str) -> bool:
    """Whether a name or an address, without port, is one that only this machine reaches."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
