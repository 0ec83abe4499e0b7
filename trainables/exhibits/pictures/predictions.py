"""Predictions over the truth: one-step above, multi-step below, for each of the first values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainables.exhibits.canvas import COLOURS, label_axes, new_figure, plain_style, save_figure

MOST_VALUES = 4
_MOST_POINTS = 4000
"""More than the pixels of a panel's width are not seen."""
_MARGIN = 0.25
"""Of the range of the truth, kept free above and below it."""

PREDICTIONS = (("one_step", "one-step", COLOURS[0]), ("multi_step", "multi-step", COLOURS[1]))
"""Attribute, name and colour of each kind of prediction."""

_TRUTH: dict[str, Any] = {"color": "0.2", "linestyle": "none", "marker": ".", "markersize": 3, "markeredgewidth": 0, "zorder": 3}
"""Small points above the lines: a line that follows them closely would hide them."""


class Forecast(Protocol):
    """What is drawn of an exhibit."""

    @property
    def time(self) -> np.ndarray: ...
    @property
    def truth(self) -> np.ndarray: ...
    @property
    def one_step(self) -> np.ndarray: ...
    @property
    def multi_step(self) -> np.ndarray: ...
    @property
    def time_name(self) -> str: ...
    @property
    def value_names(self) -> tuple[str, ...]: ...


def draw_predictions(forecast: Forecast, path: Path) -> None:
    """A PNG with two panels for each of the first :data:`MOST_VALUES` values, all on one axis of time."""
    save_figure(predictions_figure(forecast), path)


def predictions_figure(forecast: Forecast) -> Any:
    shown = min(len(forecast.value_names), MOST_VALUES)
    figure = new_figure(9.0, 0.7 + 4.4 * shown)
    panels = figure.subplots(2 * shown, 1, sharex=True)
    for value in range(shown):
        for (attribute, title, colour), axes in zip(PREDICTIONS, panels[2 * value : 2 * value + 2], strict=True):
            draw_panel(axes, forecast, attribute, value, colour)
            error = mean_squared_error(forecast, attribute, value)
            axes.set_title(f"{title}: MSE {error}", fontsize=9, loc="left", parse_math=False)
            label_axes(axes, y=forecast.value_names[value])
    label_axes(panels[-1], x=forecast.time_name, y=forecast.value_names[shown - 1])
    left_out = len(forecast.value_names) - shown
    add_legend(figure, f"{left_out} more values are not shown" if left_out else "")
    return figure


def draw_panel(axes: Any, forecast: Forecast, attribute: str, value: int, colour: str) -> None:
    """One kind of prediction as a line, the truth as points; the axis keeps to the range of the truth."""
    step = -(-len(forecast.time) // _MOST_POINTS)
    time, truth = forecast.time[::step], forecast.truth[::step, value]
    low, high = _range(forecast.truth[:, value])
    predicted = getattr(forecast, attribute)[::step, value]
    axes.plot(time, truth, **_TRUTH)
    drawn = np.clip(predicted, low - (high - low), high + (high - low))
    axes.plot(time, drawn, color=colour, linewidth=1.1, alpha=0.8)
    axes.set_ylim(low, high)
    plain_style(axes)
    if note := _outside(getattr(forecast, attribute)[:, value], low, high):
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
        axes.text(0.995, 0.97, note, transform=axes.transAxes, ha="right", va="top", fontsize=8, color="0.25", bbox=box)


def _outside(predicted: np.ndarray, low: float, high: float) -> str:
    outside, made = int(((predicted < low) | (predicted > high)).sum()), int((~np.isnan(predicted)).sum())
    return f"{outside:,} of {made:,} predictions lie outside this range" if outside else ""


def add_legend(figure: Any, note: str = "") -> None:
    """One legend for all panels, below them, with a ``note`` as its last entry."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], label="truth", **_TRUTH)]
    lines += [Line2D([], [], color=colour, label=name) for _, name, colour in PREDICTIONS]
    lines += [Line2D([], [], linestyle="none", label=note)] if note else []
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8, frameon=False)


def mean_squared_error(forecast: Forecast, attribute: str, value: int) -> str:
    """Of all moments that were predicted, with the square of the unit where the value's name ends with one in brackets."""
    predicted = getattr(forecast, attribute)[:, value]
    made = ~np.isnan(predicted)
    with np.errstate(over="ignore", invalid="ignore"):
        error = float(np.mean((predicted[made] - forecast.truth[made, value]) ** 2)) if made.any() else np.nan
    if not np.isfinite(error):
        return "not finite"
    unit = re.search(r"[(\[]([^()\[\]]+)[)\]]\s*$", forecast.value_names[value])
    shown = f"{error:,.4g}" if abs(error) < 1e4 else f"{error:,.0f}" if error < 1e9 else f"{error:.2g}"
    steps = "" if made.all() else f", {made.sum():,} of {len(made):,} steps"
    return shown + (f" ({unit[1]})²" if unit else "") + steps


def _range(truth: np.ndarray) -> tuple[float, float]:
    low, high = float(truth.min()), float(truth.max())
    margin = _MARGIN * (high - low) or abs(high) * 0.05 or 1.0
    return low - margin, high + margin
