"""Expressions inside YAML values: ``"${16 * memory_block}"``, the whole text or nothing."""

from __future__ import annotations

from typing import Any

_OPENING = "${"


def is_expression(value: Any) -> bool:
    """Whether a value is text of the form ``${…}``, from its first character to its last."""
    return inner_expression(value) is not None


def inner_expression(value: Any) -> str | None:
    """The expression within ``${…}`` (it begins at character 2 of the text); None where the value has another form."""
    if not isinstance(value, str) or not value.startswith(_OPENING) or not value.endswith("}"):
        return None
    inner = value[len(_OPENING) : -1]
    return None if _OPENING in inner else inner


def misplaced_expression(value: Any) -> str | None:
    """A message where text holds ``${`` but is no expression as a whole, else None."""
    if not isinstance(value, str) or _OPENING not in value or is_expression(value):
        return None
    return f"an expression must be the whole value, from '${{' to '}}', found {value[:80]!r}"
