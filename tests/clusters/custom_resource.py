"""A custom resource definition of Kubernetes as a JSON schema that refuses unknown fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def custom_resource_schema(definition: Path, version: str) -> dict[str, Any]:
    """The JSON schema of one version of the definition in a file.

    Kubernetes drops fields that it does not know, so that a misspelt one has no effect; here they are errors. Rules in CEL,
    and what the operator itself checks, are not covered.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(definition.read_text(), Loader=loader)
    (wanted,) = [found for found in content["spec"]["versions"] if found["name"] == version]
    schema: dict[str, Any] = _strict(wanted["schema"]["openAPIV3Schema"])
    # The definition leaves the names and labels of objects to Kubernetes.
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return schema


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _strict(value) for key, value in node.items()}
    if made.get("x-kubernetes-int-or-string") is True:
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    closed = made.get("type") == "object" and isinstance(made.get("properties"), dict) and "additionalProperties" not in made
    if closed and not made.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made
