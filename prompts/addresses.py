"""Addresses and texts without the secrets that they may carry: before anything is written, sent on or printed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

HIDDEN = "***"
KEPT = frozenset({"api-version", "version", "revision"})
"""Parts of a query that are no secret and that an address may need; others are left out where it is written."""

_ADDRESS = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>|]+")
_USER = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"(?<=[?&;])([^=&;#\s]+)=([^&;#\s'\"<>)]*)")
_HEADER = re.compile(r"\b((?:proxy-)?authorization|x-api-key|api-key|cookie)(['\"]?\s*[:=]\s*['\"]?)"
                     r"((?:bearer|basic|token)\s+)?[^\s'\",;]+", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer)(\s+)[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
_BASIC = re.compile(r"\b((?i:basic))(\s+)(?=[A-Za-z0-9+/]*[A-Z0-9=])[A-Za-z0-9+/]{4,}={0,2}")
_TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16})\b")
_FIELD = re.compile(r"(?:api|access|secret)[_-]?key|(?:access|auth|api|bearer)?[_-]?token|password|passwd|"
                    r"(?:client[_-]?)?secret|authorization|credentials?", re.IGNORECASE)
_NAME = re.compile(r"(?:^|_)(?:TOKEN|API_?KEY|ACCESS_KEY|SECRET|SECRET_KEY|PASSWORD|PASSWD)$")
_SHORTEST = 6  # a value that is shorter may be any word


def shown(text: str) -> str:
    """A text for people and logs: credentials, queries of addresses, keys in headers and in the environment hidden."""
    if "://" in text:
        text = _ADDRESS.sub(lambda match: _QUERY.sub(_masked, _USER.sub(f"{HIDDEN}@", match[0])), text)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    for kind in (_BEARER, _BASIC):
        text = kind.sub(rf"\1\2{HIDDEN}", text)
    text = _TOKEN.sub(HIDDEN, text)
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return text


def without_secrets(value: object) -> object:
    """Plain data as it may be written to a file that is published.

    Addresses are without credentials and query, and texts under names like "api_key" are hidden.

    Args:
        value: Texts, numbers, lists and mappings, as YAML has them.
    """
    if isinstance(value, str):
        text = _ADDRESS.sub(lambda match: bare(match[0]), value) if "://" in value else value
        return _TOKEN.sub(HIDDEN, _BEARER.sub(rf"\1\2{HIDDEN}", text))
    if isinstance(value, Mapping):
        return {key: HIDDEN if is_secret(key) and isinstance(each, str) else without_secrets(each)
                for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    return value


def bare(address: str) -> str:
    """An address without user name, password, fragment, and all of its query but `KEPT`."""
    try:
        parts = urlsplit(address)
        kept = urlencode([(name, each) for name, each in parse_qsl(parts.query) if name.lower() in KEPT])
    except ValueError:
        return _USER.sub("", address).partition("?")[0].partition("#")[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, kept, ""))


def without_keys(text: str, secrets: Iterable[str], mark: str) -> str:
    """A text of a server without what it was sent: the secrets, and whatever follows "Bearer" and "Basic".

    Args:
        secrets: What it knows of; those that are short may be any word, and stay.
        mark: What stands for them.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, mark)
    for kind in (_BEARER, _BASIC):
        text = kind.sub(rf"\1\2{mark}", text)
    return text


def is_secret(name: object) -> bool:
    """Whether what stands under a name is a key or a password, by the name."""
    return _FIELD.fullmatch(str(name)) is not None


def has_secrets(value: object) -> bool:
    """Whether plain data holds an address that `without_secrets` would change."""
    return without_secrets(value) != (list(value) if isinstance(value, tuple) else value)


def _masked(match: re.Match[str]) -> str:
    return match[0] if match[1].lower() in KEPT else f"{match[1]}={HIDDEN}"


def _secrets() -> list[str]:
    """Values of environment variables whose names say that they are secret, the longest first."""
    found = {value.strip() for name, value in os.environ.items() if _NAME.search(name.upper())}
    return sorted((value for value in found if len(value) >= _SHORTEST), key=len, reverse=True)
