"""Text that no encoding can write: it is replaced, wherever it comes from."""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """Replace halves of a character beyond U+FFFF, which no encoding can write."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def shown_value(value: object, length: int = 40) -> str:
    """Return a value and its type for a message, in a few characters."""
    text = without_surrogates(str(value))
    return f"{text[:length]!r} ({type(value).__name__})"
