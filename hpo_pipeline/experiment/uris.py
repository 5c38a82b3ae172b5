"""URIs in an experiment file: without credentials, for the file is copied to many places."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs", "adl")
"""Schemes of Azure, in which `container@account` is an address."""


def check_uri(text: str) -> str:
    """Return a URI, or any other text, that holds neither user nor password.

    Raises:
        ValueError: it does, or it is not a URI although it looks like one.
    """
    if "\0" in text:
        raise ValueError("must not hold a null character")
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"must be a URI ({error})") from error
    user, at, host = parts.netloc.rpartition("@")
    if at and (":" in user or parts.scheme not in _CONTAINERS):
        raise ValueError(
            f"must be without user and password, got some in {parts.scheme}://…@{host}; the file "
            f"is copied to run folders, ConfigMaps and reports: keep credentials in the environment"
        )
    return text


def check_registry(text: str) -> str:
    """Return the address of a registry: a folder, or a URI with a host.

    Raises:
        ValueError: it has credentials, or no host.
    """
    check_uri(text)
    if not text:
        raise ValueError("must be a folder, or SCHEME://HOST:PORT")
    if "://" in text and not text.startswith("file://") and not urlsplit(text).hostname:
        raise ValueError("must be SCHEME://HOST:PORT")
    return text


Uri = Annotated[str, AfterValidator(check_uri)]
RegistryUri = Annotated[str, AfterValidator(check_registry)]
