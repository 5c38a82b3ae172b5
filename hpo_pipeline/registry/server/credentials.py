"""Which server may be sent a credential: one that its owner named, over a connection kept secret.

The URI of a registry may come from an experiment file or from a parameter of a pipeline, which
others write. So it alone never decides who gets a token. The owner of the token names its host:
on the command line (`--registry`), with HPO_REGISTRY, or in HPO_REGISTRY_TOKEN_HOST beside the
token (hosts, separated by commas, with or without a port). Over plain http a token is sent to this
machine only, and to the hosts in HPO_REGISTRY_ALLOW_HTTP.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from hpo_pipeline.registry.interfaces import Access
from hpo_pipeline.registry.server.address import Address

HOSTS = "HPO_REGISTRY_TOKEN_HOST"
NAMING = ("HPO_REGISTRY", HOSTS)
ALLOW_HTTP = "HPO_REGISTRY_ALLOW_HTTP"


def refusal(address: Address, access: Access, *, naming: Sequence[str] = NAMING) -> str:
    """Return why a server must not be sent credentials, and what to do; empty where it may.

    Args:
        naming: the environment variables in which an owner names hosts, or the URI of one.
    """
    if not is_named(address, access, naming=naming):
        return (
            f"they are sent only to a host that you name, and {address.host} is named by the "
            f"experiment alone: set {HOSTS}={address.host}, or give --registry"
        )
    if address.is_secure or is_loopback(address.host) or _is_listed(address, access, ALLOW_HTTP):
        return ""
    return (
        f"they are not sent over plain http: use https, or set {ALLOW_HTTP}={address.host} "
        f"if nobody can read the network in between"
    )


def is_named(address: Address, access: Access, *, naming: Sequence[str] = NAMING) -> bool:
    """Return whether the user named a server, rather than an experiment file alone."""
    return access.is_named or any(_is_listed(address, access, variable) for variable in naming)


def is_in_cluster(host: str) -> bool:
    """Return whether a name can only be that of a Kubernetes service: NAME.NAMESPACE.svc."""
    labels = host.rstrip(".").lower().removesuffix(".cluster.local").split(".")
    return len(labels) >= 3 and labels[-1] == "svc" and all(labels)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_listed(address: Address, access: Access, variable: str) -> bool:
    """Return whether a variable has a host in its list of hosts, or in its URI."""
    text = access.environ.get(variable, "")
    if variable in (HOSTS, ALLOW_HTTP):
        return any(_is_host(f"//{part.strip()}", address) for part in text.split(","))
    return "://" in text and _is_host(text, address)


def _is_host(uri: str, address: Address) -> bool:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme and port is None:
        port = 443 if parts.scheme.endswith("s") else 80
    return _plain(host) == _plain(address.host) and port in (None, address.port)


def _plain(host: str) -> str:
    return host.rstrip(".").lower()
