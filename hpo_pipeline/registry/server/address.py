"""The address of a registry server, from its URI, and whether something answers there.

Credentials come from the environment: a URI is copied to experiment files, logs and reports.
"""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from hpo_pipeline.errors import RegistryError

CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Address:
    """The URL of a server, and the options of its URI."""

    url: str
    options: Mapping[str, str]

    @property
    def host(self) -> str:
        """The name of the host, in lower case."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port, also where the URI leaves it to the protocol."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def is_secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("https://")


def parse(
    uri: str, *, secure: Collection[str], options: Collection[str] = (), credentials: str
) -> Address:
    """Return the address of `SCHEME://HOST:PORT/PATH?OPTION=…`.

    Args:
        secure: the schemes that mean https; others mean http.
        options: the names that are allowed after the question mark.
        credentials: where they come from, for messages.

    Raises:
        RegistryError: it has no host, has a user or password, or an unknown option.
    """
    try:
        parts = urlsplit(uri)
        port = f":{parts.port}" if parts.port is not None else ""
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise RegistryError(f"the registry must be SCHEME://HOST:PORT, got: {error}") from error
    if "@" in parts.netloc:
        where = parts.netloc.rpartition("@")[2]
        raise RegistryError(
            f"the registry must be without user and password, got {parts.scheme}://…@{where}; "
            f"{credentials}"
        )
    if not parts.hostname:
        raise RegistryError(f"the registry must be SCHEME://HOST:PORT, got {uri!r}")
    unknown = [name for name, _ in given if name not in options]
    if unknown or parts.fragment:
        allowed = ", ".join(options) or "none"
        got = ", ".join(unknown) or f"#{parts.fragment}"
        raise RegistryError(f"the registry's options may be {allowed}, got {got}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    protocol = "https" if parts.scheme in secure else "http"
    return Address(f"{protocol}://{host}{port}{parts.path.rstrip('/')}", dict(given))


def reach(address: Address) -> None:
    """Check that something accepts connections at an address.

    A client would ask again for half a minute or longer before it says so.

    Raises:
        RegistryError: nothing does.
    """
    protocol = "https" if address.is_secure else "http"
    if protocol in urllib.request.getproxies() and not urllib.request.proxy_bypass(address.host):
        return  # the proxy connects, and resolves the name
    try:
        socket.create_connection((address.host, address.port), CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise RegistryError(
            f"{address.url}: the registry cannot be reached ({error}); check that the server runs "
            f"and that its name is known here"
        ) from error
