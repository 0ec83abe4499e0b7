"""The forecasts of the best run of each row over the truth: one-step on the left, multi-step on the right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.exhibits.canvas import label_axes, new_figure, save_figure
from trainables.exhibits.forecast import ForecastExhibit
from trainables.exhibits.pictures.predictions import PREDICTIONS, add_legend, draw_panel, mean_squared_error

MOST_ROWS = 12


def draw_forecasts(name: str, forecasts: Mapping[str, ForecastExhibit], path: Path) -> bool:
    """Draws the first value of each forecast, rows in the order given, into a PNG; False where there is none."""
    if not forecasts:
        return False
    save_figure(forecasts_figure(name, forecasts), path)
    return True


def forecasts_figure(name: str, forecasts: Mapping[str, ForecastExhibit]) -> Any:
    shown = dict(list(forecasts.items())[:MOST_ROWS])
    figure = new_figure(10.0, 1.0 + 2.05 * len(shown))
    panels = figure.subplots(len(shown), 2, squeeze=False)
    for line, (row, forecast) in zip(panels, shown.items(), strict=True):
        for (attribute, title, colour), axes in zip(PREDICTIONS, line, strict=True):
            draw_panel(axes, forecast, attribute, 0, colour)
            error = mean_squared_error(forecast, attribute, 0)
            # The row on a line of its own, which has the width of both panels: names are long.
            above = f"{row}\n" if axes is line[0] else ""
            axes.set_title(f"{above}{title}: MSE {error}", fontsize=9, loc="left", parse_math=False)
        label_axes(line[0], y=forecast.value_names[0])
    for axes in panels[-1]:
        axes.set_xlabel(forecast.time_name, fontsize=9, parse_math=False)
    left_out = len(forecasts) - len(shown)
    add_legend(figure, f"{left_out} more rows are not shown" if left_out else "")
    figure.suptitle(f"{name}: the best run of each row", fontsize=10, x=0.01, ha="left")
    return figure
