"""Who may ask: the names that a server answers to, where a page's request comes from, and the token.

A page of another site can make a browser ask a server on the loopback address, and a name that its owner points there
(DNS rebinding) makes the two look like one site. So names are checked, and the origin that a browser tells; one that
calls itself `null` (a file, a sandboxed frame) is refused. Nothing is allowed across origins.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from terrasynth.synthesis.service.problems import Problem, problem_response
from terrasynth.synthesis.service.settings import ServiceSettings, is_loopback

COOKIE = "terrasynth"
SIGN_IN = "/sign-in"
OPEN_PATHS = ("/healthz", SIGN_IN)
OPEN_BELOW = "/static/"
SAFE_METHODS = ("GET", "HEAD")
MOST_HEADER_BYTES = 32 * 2**10
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
          "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # none at all would make browsers call the origin of a form `null`
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Security:
    """Refuses requests that may not be made, and gives every answer the headers that browsers obey.

    Args:
        app: What answers those that may.
        settings: Address and token of the server.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; websockets do not exist here, and are closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refused(scope["method"], scope["path"], Headers(scope=scope))
        await (refused or self._app)(scope, receive, send_with_headers)

    def _refused(self, method: str, path: str, headers: Headers) -> Response | None:
        try:
            _check_length(headers)
            self._check_names(method, headers)
            self._check_token(path, headers)
        except Problem as problem:
            reads = "text/html" in headers.get("accept", "") and method in SAFE_METHODS
            if problem.status == 401 and reads:
                return RedirectResponse(SIGN_IN, 303)
            return problem_response(problem, path.startswith("/v1/images/"))
        return None

    def _check_names(self, method: str, headers: Headers) -> None:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        host = hosts[0] if len(hosts) == 1 else ""
        name = host_name(host)
        if name is None or (self._settings.loopback and not is_loopback(name)):
            raise Problem(403, "host_refused", f"host {host[:80]!r} is no name of this server; ask for "
                          f"{self._settings.host}:{self._settings.port}")
        if origins and (len(origins) > 1 or urlsplit_netloc(origins[0]) != host.lower()):
            raise Problem(403, "origin_refused", f"origin {origins[0][:80]!r} may not ask this server; open its own "
                          f"page at {host[:80]}")
        # A picture or a form of another site comes without an origin where nothing is sent; a link may be followed.
        elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        followed = headers.get("sec-fetch-mode") == "navigate" and method in SAFE_METHODS
        if elsewhere and not (followed and headers.get("sec-fetch-dest") == "document"):
            raise Problem(403, "origin_refused", "a page of another site may not ask this server; open its own page")

    def _check_token(self, path: str, headers: Headers) -> None:
        token = self._settings.token
        if token is None or path in OPEN_PATHS or path.startswith(OPEN_BELOW):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and equal(given.strip(), token):
            return
        if equal(_cookie(headers), session_of(token)):
            return
        raise Problem(401, "no_token", "the token of this server is missing or wrong; send it as `Authorization: "
                      f"Bearer TOKEN`, or sign in at {SIGN_IN}", {"WWW-Authenticate": 'Bearer realm="terrasynth"'})


def _check_length(headers: Headers) -> None:
    """Headers that arrive at once are read whatever their length, so they are measured here."""
    if sum(len(name) + len(value) for name, value in headers.raw) > MOST_HEADER_BYTES:
        raise Problem(431, "long_headers", f"the headers have more than {MOST_HEADER_BYTES:,} bytes; send less",
                      {"Connection": "close"})


def session_of(token: str) -> str:
    """What the cookie of a browser holds that was shown the token: not the token itself, and void with it."""
    return hmac.new(token.encode(), b"terrasynth session", hashlib.sha256).hexdigest()


def equal(given: str, known: str) -> bool:
    """Whether two secrets are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())


def host_name(host: str) -> str | None:
    """The name or address in a `Host` header, without its port; None where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    plain = parts.netloc == host and "@" not in host and not parts.path
    return parts.hostname if plain else None


def urlsplit_netloc(origin: str) -> str:
    """Name and port in an `Origin` header, in small letters; "" where it has none, as `null`."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""
