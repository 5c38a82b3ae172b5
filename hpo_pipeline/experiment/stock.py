"""How the file names a strategy of Katib's own: `katib:random`, in `search` and `stopping`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

STOCK = "katib"
"""In a file `katib:random` is short for `{algorithm: katib, name: random}`: Katib's own random."""

KatibName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,20}[a-z0-9])?$")]


@dataclass(frozen=True)
class Named:
    """Reads `katib:NAME`, and fills in the algorithm where a section names none.

    Attributes:
        default: the algorithm of a section without one.
    """

    default: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Rewrite the section before its model is chosen."""
        return core_schema.no_info_before_validator_function(self._rewritten, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tell editors what a file may say before it is rewritten."""
        found = handler(schema["schema"])
        tagged: dict[str, str] = found.get("discriminator", {}).get("mapping", {})
        for name, reference in tagged.items():
            model = handler.resolve_ref_schema({"$ref": reference})
            if name == self.default:
                model["required"] = [n for n in model["required"] if n != "algorithm"]
            if name == STOCK:
                model["required"] = ["algorithm"]
                short = {"type": "string", "pattern": f"^{STOCK}(:[-a-z0-9]+)?$"}
                model["properties"]["algorithm"] = {"title": "Algorithm", **short}
        # Not oneOf with a discriminator, which knows no katib:NAME.
        return {"anyOf": found["oneOf"]} if "oneOf" in found else found

    def _rewritten(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "algorithm" not in value:
            return {"algorithm": self.default, **value}
        kind, colon, stock = str(value["algorithm"]).partition(":")
        is_stock = kind == STOCK and bool(colon)
        return {**value, "algorithm": STOCK, "name": stock} if is_stock else value
