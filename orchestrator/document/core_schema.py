"""Plain scalars by the core schema of YAML 1.2 (yaml.org/spec/1.2.2, section 10.3.2)."""

from __future__ import annotations

import math
import re

MOST_INTEGER_DIGITS = 18
"""Whole numbers have at most so many digits, so that each fits 64 bits and none is slow to convert."""

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGERS = ((10, re.compile(r"[-+]?([0-9]+)")), (8, re.compile(r"0o([0-7]+)")), (16, re.compile(r"0x([0-9a-fA-F]+)")))
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain (unquoted) scalar; what is nothing else is text, ``on`` and ``yes`` among it.

    Raises:
        ValueError: where a number is too large.
    """
    if text in _WORDS:
        return _WORDS[text]
    for base, pattern in _INTEGERS:
        if match := pattern.fullmatch(text):
            return _integer(text, match[1], base)
    if _FLOAT.fullmatch(text):
        return _finite(text)
    if special := _SPECIAL_FLOAT.fullmatch(text):
        return math.nan if special[1] is None else float(f"{special[1]}inf")
    return text


def _integer(text: str, digits: str, base: int) -> int:
    if len(digits) > MOST_INTEGER_DIGITS or int(digits, base) >= 10**MOST_INTEGER_DIGITS:
        raise ValueError(f"a whole number has at most {MOST_INTEGER_DIGITS} digits")
    return -int(digits, base) if text.startswith("-") else int(digits, base)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("the number is too large")
    return value
