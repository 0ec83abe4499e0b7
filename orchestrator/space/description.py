"""Values, dimensions and budgets in words, close to how a search space is written: for differences and for messages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from orchestrator.space.constraint import Budget
from orchestrator.space.dimension import ChoiceDimension, Dimension, FloatDimension, IntegerDimension
from orchestrator.space.reading.value import Gridded
from orchestrator.space.value import Computed, Constant, ExpressionGuard, Listing, Repeated, Searched, Value
from trainables.files import split_reference

_BARE_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS_OF_YAML = {"true", "false", "null"}
_WIDEST_PERCENT = 25
"""A wider window reads better by its two ends."""


def describe_value(value: Value) -> str:
    """What a field may be: ``64``, ``int [8, 96] step 4``, ``choice [2, 4] when use_ffn``, ``${2 * dk}``.

    Raises:
        TypeError: for a kind of value that has no description.
    """
    match value:
        case Constant():
            return describe_plain(value.value)
        case Computed():
            return f"${{{value.expression.text}}}"
        case Searched():
            return describe_dimension(value.dimension) + _describe_guards(value)
        case Gridded():
            return f"grid {describe_plain(value.choices)}"
        case Listing():
            return f"[{', '.join(map(describe_value, value.items))}]"
        case Repeated():
            equal = ", equal" if value.equal else ""
            return f"list of {describe_value(value.items[0])}, length {describe_value(value.length)}{equal}"
    raise TypeError(f"no description of {type(value).__name__}")


def describe_dimension(dimension: Dimension) -> str:
    """``int [8, 96] step 4``, ``float [1e-4, 1e-2] log``, ``choice [2, 4]``."""
    match dimension:
        case ChoiceDimension():
            return f"choice {describe_plain(dimension.choices)}"
        case IntegerDimension():
            step = f" step {dimension.step}" if dimension.step != 1 else ""
            return f"int {_ends(dimension)}{step}{' log' if dimension.log else ''}"
        case FloatDimension():
            step = f" step {describe_plain(dimension.step)}" if dimension.step is not None else ""
            return f"float {_ends(dimension)}{step}{' log' if dimension.log else ''}"


def describe_budget(budget: Budget) -> str:
    """``block 98,560 ± 2%``: the scope with its window."""
    return f"{budget.scope} {describe_window(budget)}"


def describe_window(budget: Budget) -> str:
    """``98,560 ± 2%`` where a target and a percentage of at most two decimals give the window, else its ends."""
    if budget.low is None or budget.high is None:
        return f"at most {budget.high:,}" if budget.high is not None else f"at least {budget.low or 0:,}"
    percent = _percent(budget.low, budget.high)
    if percent is None:
        return f"{budget.low:,} to {budget.high:,}"
    return f"{(budget.low + budget.high) // 2:,} ± {percent}%"


def describe_plain(value: Any) -> str:
    """A number, text, truth value, null, list or mapping as YAML would have it in one line.

    Of a mapping that names files that is all: the rest was taken from them.
    """
    if isinstance(value, float):
        return _describe_real(value)
    if isinstance(value, str):
        return value if _BARE_TEXT.fullmatch(value) and value not in _WORDS_OF_YAML else json.dumps(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(describe_plain, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{describe_plain(key)}: {describe_plain(item)}" for key, item in _told_items(value)) + "}"
    return json.dumps(value)


def describe_setting(name: str, value: Any) -> str:
    """``dk=16``, ``base={architecture: gpt, dim: 64}``."""
    return f"{name}={describe_plain(value) if isinstance(value, Mapping) else value}"


def _told_items(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    named = [(key, item) for key, item in value.items() if isinstance(item, str) and split_reference(item)[1]]
    return named or list(value.items())


def _describe_guards(searched: Searched) -> str:
    conditions = [guard.expression.text for guard in searched.guards if isinstance(guard, ExpressionGuard)]
    return f" when {' and '.join(conditions)}" if conditions else ""


def _ends(dimension: IntegerDimension | FloatDimension) -> str:
    return f"[{describe_plain(dimension.low)}, {describe_plain(dimension.high)}]"


def _describe_real(value: float) -> str:
    """The shortest text that reads back as the same number: ``1e-4``, ``0.5``, ``2``."""
    if not math.isfinite(value):
        return json.dumps(value)
    plain = repr(value).removesuffix(".0") if abs(value) < 1e16 else repr(value)
    mantissa, _, exponent = next(text for places in range(18) if float(text := f"{value:.{places}e}") == value).partition("e")
    scientific = f"{mantissa}e{int(exponent)}"
    return scientific if "e" in plain or (abs(value) < 0.1 and len(scientific) <= len(plain)) else plain


def _percent(low: int, high: int) -> str | None:
    """The percentage around the middle of a window that gives both its ends; None where there is no short one."""
    target, odd = divmod(low + high, 2)
    if odd or not target:
        return None
    spread = high - target
    for decimals in range(3):
        scale = 100 * 10**decimals
        hundredths = -(-spread * scale // target)  # rounded up: the window's ends are rounded inwards
        if hundredths <= _WIDEST_PERCENT * 10**decimals and target * hundredths // scale == spread:
            return describe_plain(hundredths / 10**decimals)
    return None
