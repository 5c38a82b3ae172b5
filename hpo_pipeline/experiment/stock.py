"""How the file names a strategy of Katib's own: `katib:random`, in `search` and `stopping`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

STOCK = "katib"
"""In a file `katib:random` is short for `{algorithm: katib, name: random}`: Katib's own random."""

KatibName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$")]


def named(default: str) -> BeforeValidator:
    """Return what reads `katib:NAME`, and fills in the algorithm where a section names none."""

    def name(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "algorithm" not in value:
            return {"algorithm": default, **value}
        kind, colon, stock = str(value["algorithm"]).partition(":")
        is_stock = kind == STOCK and bool(colon)
        return {**value, "algorithm": STOCK, "name": stock} if is_stock else value

    return BeforeValidator(name, json_schema_input_type=Any)
