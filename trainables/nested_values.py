"""The values of a mapping that describes another model, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainables.configuration import ConfigurationError, Hyperparameter, convert


def converted_fields(values: Mapping[str, Any], fields: Mapping[str, Hyperparameter]) -> dict[str, Any]:
    """``values`` by name of their field, in the final types.

    Raises:
        ConfigurationError: names that are none of ``fields``, wrong types and values out of range, all of them.
    """
    problems: list[tuple[str | None, str]] = [(name, "is not a field") for name in values if name not in fields]
    converted: dict[str, Any] = {}
    for name in values:
        if name not in fields:
            continue
        try:
            converted[name] = convert(values[name], fields[name].type)
        except ValueError as error:
            problems.append((name, str(error)))
            continue
        if problem := fields[name].problem_with(converted[name]):
            problems.append((name, problem))
    if problems:
        raise ConfigurationError(problems)
    return converted
