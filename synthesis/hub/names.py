"""Names that the Hugging Face Hub refuses, found before anything is sent."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from terrasynth.synthesis.core.errors import InputError

LONGEST = 96
"""Characters of "user/name" and of its parts."""

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_ENDINGS = (".git", ".ipynb")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def check_repository(name: str) -> None:
    """Check that a repository may have a name.

    Raises:
        InputError: It is not "user/name", or the Hub takes no such name.
    """
    parts = name.split("/")
    if len(parts) != 2 or not all(parts):
        raise InputError(f"repository {name!r} is not of the form user/name")
    fault = None
    if not all(_PART.fullmatch(part) for part in parts):
        fault = "each part has letters a to z, digits, '-', '_' and '.' alone, and neither end is '-' or '.'"
    elif "--" in name or ".." in name:
        fault = "'--' and '..' are not allowed"
    elif parts[1].lower().endswith(_ENDINGS):
        fault = f"a name does not end in {' or '.join(_ENDINGS)}"
    elif len(name) > LONGEST:
        fault = f"it has {len(name)} characters of at most {LONGEST}"
    if fault:
        raise InputError(f"repository {name!r} would be refused by the Hub: {fault}; choose another --repo")


def check_branch(name: str) -> None:
    """Check that a branch may have a name, by the rules of `git check-ref-format`.

    Raises:
        InputError: git takes no such name, or it names a commit or a pull request, which nothing can be pushed to.
    """
    fault = None
    if _COMMIT.fullmatch(name) or name.startswith("refs/"):
        fault = "it names a commit or a reference, not a branch"
    elif not name or re.search(r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{|//", name) or name == "@":
        fault = "a branch has no blanks, none of ~ ^ : ? * [ \\ and neither '..' nor '@{'"
    elif name.startswith(("-", "/")) or name.endswith(("/", ".")):
        fault = "it begins with '-' or '/', or ends with '/' or '.'"
    elif any(part.startswith(".") or part.endswith(".lock") for part in name.split("/")):
        fault = "a part of it begins with '.' or ends with '.lock'"
    if fault:
        raise InputError(f"branch {name!r} would be refused by the Hub: {fault}; choose another --revision")


def check_endpoint(address: str) -> None:
    """Check that HF_ENDPOINT can be the address of a Hub.

    Raises:
        InputError: It is none; it is not repeated, since it may hold a password.
    """
    try:
        parts = urlsplit(address)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if not whole:
        raise InputError("HF_ENDPOINT is no address of a Hub; set it to one as https://huggingface.co, or unset it")
