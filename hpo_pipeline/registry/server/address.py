"""The address of a registry server, taken from its URI.

Credentials come from the environment: a URI ends up in experiment files, logs and reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from hpo_pipeline.errors import RegistryError


@dataclass(frozen=True)
class Address:
    """Where a server answers, and what the URI says beside that."""

    url: str
    options: Mapping[str, str]


def parse(uri: str, *, options: tuple[str, ...] = (), credentials: str) -> Address:
    """Return the address of `SCHEME://HOST:PORT/PATH?OPTION=…`.

    Args:
        uri: schemes that end in `s`, or in `+https`, mean https, others http.
        options: the names that may stand after the question mark.
        credentials: where they come from, in words.

    Raises:
        RegistryError: it has no host, a password, or an unknown option.
    """
    try:
        parts = urlsplit(uri)
        port = f":{parts.port}" if parts.port is not None else ""
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise RegistryError(f"registry: must be SCHEME://HOST:PORT, got {error}") from error
    if "@" in parts.netloc:
        where = parts.netloc.rpartition("@")[2]
        raise RegistryError(
            f"registry: must be without user and password, got some in {parts.scheme}://…@{where}; "
            f"{credentials}"
        )
    if not parts.hostname:
        raise RegistryError(f"registry: must be SCHEME://HOST:PORT, got {uri!r}")
    unknown = [name for name, _ in given if name not in options]
    if unknown or parts.fragment:
        allowed = ", ".join(options) or "none"
        got = ", ".join(unknown) or f"#{parts.fragment}"
        raise RegistryError(f"registry: options may be {allowed}, got {got}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_secure = parts.scheme.endswith("+https") or parts.scheme in ("mlflows", "kubeflows")
    protocol = "https" if is_secure else "http"
    return Address(f"{protocol}://{host}{port}{parts.path.rstrip('/')}", dict(given))
