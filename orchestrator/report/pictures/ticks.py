"""Ticks of small panels: few of them, with short labels that do not touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LETTERS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_TICKS_WITHIN_A_DECADE = ((4, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)), (50, (1.0, 2.0, 5.0)), (300, (1.0, 3.0)))
"""A logarithmic axis that spans less than the factor has too few powers of ten to read it by."""


def readable_ticks(axis: Any, values: Sequence[float], log: bool) -> None:
    """At most about five ticks; on a logarithmic axis over few decades also between the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    formatter = FuncFormatter(lambda value, position: short_number(value))
    if not log:
        whole = all(float(value).is_integer() for value in values)
        axis.set_major_locator(MaxNLocator(nbins=4, integer=whole))
        axis.set_major_formatter(formatter)
        return
    axis.set_minor_locator(NullLocator())  # they take most of the time that a small panel needs
    subs = next((subs for factor, subs in _TICKS_WITHIN_A_DECADE if max(values) < factor * min(values)), (1.0,))
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(formatter)


def short_number(value: float) -> str:
    """``12.5k`` for 12500, ``3e-4`` for 0.0003; what lies between as it is."""
    if 0 < abs(value) < 0.01:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for size, letter in _LETTERS:
        if abs(value) >= 10 * size or (abs(value) >= size > 1e3):
            return f"{value / size:g}{letter}"
    return f"{value:g}"
