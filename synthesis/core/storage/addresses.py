"""Addresses of object storage: which there are, which package each needs, and what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from terrasynth.errors import nearest
from terrasynth.synthesis.core.errors import InputError

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/{1,2}(.*)", re.DOTALL)


@dataclass(frozen=True)
class Scheme:
    """A kind of address.

    Attributes:
        package: Whose file system of fsspec speaks it.
        extra: The extra of TerraSynth that brings the package; "" where it is always there.
        container: What its first part names.
        credentials: Where they are looked for, in words.
        writes: Whether runs and exports can be written there.
    """

    package: str
    extra: str
    container: str
    credentials: str
    writes: bool = True


SCHEMES: Mapping[str, Scheme] = {
    "s3": Scheme("s3fs", "s3", "bucket", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE) or the "
                                         "role of the machine"),
    "gs": Scheme("gcsfs", "gcs", "bucket", "GOOGLE_APPLICATION_CREDENTIALS or `gcloud auth application-default login`"),
    "az": Scheme("adlfs", "azure", "container", "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and "
                                                "AZURE_STORAGE_ACCOUNT_KEY"),
    "hf": Scheme("huggingface_hub", "", "repository", "HF_TOKEN or `hf auth login`", writes=False),
}


@dataclass(frozen=True)
class Address:
    """Where something lies in object storage.

    Attributes:
        scheme: A key of `SCHEMES`.
        key: Bucket and what follows, joined by slashes, without one at the end.
    """

    scheme: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"


def is_address(given: str | PurePath) -> bool:
    """Whether a text has the form of an address, right or wrong.

    Example:
        >>> from terrasynth.synthesis.core.storage.addresses import is_address
        >>> is_address("s3://bucket/run"), is_address("runs/demo")
        (True, False)
    """
    return _ADDRESS.fullmatch(str(given)) is not None


def address_of(given: str | PurePath) -> Address:
    """An address, read from text, or from a path that took one of its slashes away.

    Raises:
        InputError: It is none that is known, or names no bucket.

    Example:
        >>> from terrasynth.synthesis.core.storage.addresses import address_of
        >>> address_of("s3://bucket/runs/one/")
        Address(scheme='s3', key='bucket/runs/one')
    """
    found = _ADDRESS.fullmatch(str(given))
    scheme, rest = (found[1].lower(), found[2]) if found else ("", "")
    if scheme not in SCHEMES:
        forms = ", ".join(f"{name}://" for name in SCHEMES)
        raise InputError(f"{str(given)!r} is no address that is known{nearest(scheme, SCHEMES)}; there are {forms}, "
                         "or give a folder")
    parts = rest.rstrip("/").split("/")
    if not parts[0]:
        raise InputError(f"{str(given)!r} names no {SCHEMES[scheme].container}; write {scheme}://"
                         f"{SCHEMES[scheme].container.upper()}/FOLDER")
    if any(part in ("", ".", "..") for part in parts):
        raise InputError(f"{str(given)!r} has an empty part, '.' or '..', which is no way in object storage; write the "
                         "address without it")
    return Address(scheme, "/".join(parts))
