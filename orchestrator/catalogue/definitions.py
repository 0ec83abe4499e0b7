"""The shared definitions (``$defs``) of a JSON Schema."""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]


class Definitions:
    """Collects definitions under readable names and hands out references to them."""

    def __init__(self) -> None:
        self._found: dict[str, Schema] = {}

    def add(self, name: str, schema: Schema) -> Schema:
        """A reference to ``schema``, which is kept under a name made from ``name``.

        Raises:
            ValueError: another schema has that name.
        """
        key = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-")
        if self._found.setdefault(key, schema) != schema:
            raise ValueError(f"two definitions of the schema are called {key!r}")
        return {"$ref": f"#/$defs/{key}"}

    def collected(self) -> dict[str, Schema]:
        """All definitions, sorted by name."""
        return dict(sorted(self._found.items()))


def mapping(properties: Schema, required: tuple[str, ...] = (), nullable: bool = False) -> Schema:
    """An object with these keys and no others."""
    schema: Schema = {"type": ["object", "null"] if nullable else "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return {**schema, "additionalProperties": False}
