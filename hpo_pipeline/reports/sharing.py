"""What a report or a model card may say of places: they are passed on, also to strangers.

Folders of a machine, users, passwords and signatures of URIs are left out; the name of a file, a
host and a path on it stay.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

HIDDEN = "(hidden)"


def shareable(text: str) -> str:
    """Return a name, or several separated by commas, without what is private to its owner."""
    return ", ".join(map(_shareable, text.split(", ")))


def shareable_tree(found: Any) -> Any:
    """Return plain data in which every text is shareable."""
    if isinstance(found, dict):
        return {key: shareable_tree(value) for key, value in found.items()}
    if isinstance(found, list):
        return [shareable_tree(value) for value in found]
    return shareable(found) if isinstance(found, str) else found


def hub_id(name: str | None) -> str | None:
    """Return the name of a model on the hub; None for a folder or a URI."""
    is_place = name is None or "://" in name or name.startswith(("/", "~", "."))
    return None if is_place else name


def _shareable(name: str) -> str:
    if "://" in name:
        try:
            parts = urlsplit(name)
        except ValueError:
            return HIDDEN
        if parts.scheme != "file":
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        name = parts.path
    return PurePosixPath(name).name or name if name.startswith(("/", "~")) else name
