"""How the best run of each row uses its codebooks: a small panel each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.report.pictures.forecasts import MOST_ROWS
from trainables.exhibits.canvas import COLOURS, label_axes, new_figure, save_figure
from trainables.exhibits.forecast import ForecastExhibit
from trainables.exhibits.pictures.usage import MOST_NAMED, codebook_name, draw_usage, lowest_decade, rows_used

_COLUMNS = 3
_LONGEST_NAME = 46
"""Characters above a panel."""


def draw_codebooks(name: str, forecasts: Mapping[str, ForecastExhibit], path: Path) -> bool:
    """Draws those that have codebooks, in the order given, into a PNG; False where none has."""
    with_codebooks = {row: forecast for row, forecast in forecasts.items() if forecast.selections}
    if not with_codebooks:
        return False
    save_figure(codebooks_figure(name, with_codebooks), path)
    return True


def codebooks_figure(name: str, forecasts: Mapping[str, ForecastExhibit]) -> Any:
    shown = dict(list(forecasts.items())[:MOST_ROWS])
    columns = min(len(shown), _COLUMNS)
    lines = -(-len(shown) // columns)
    figure = new_figure(max(5.0, 0.6 + 3.3 * columns), 0.8 + 2.7 * lines)
    panels = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
    for index, (axes, (row, forecast)) in enumerate(zip(panels, shown.items(), strict=False)):
        draw_usage(axes, forecast.selections)
        axes.set_title(f"{_fitting(row)}\n{rows_used(forecast.selections)}", fontsize=8, loc="left", parse_math=False)
        last = index + columns >= len(shown)
        label_axes(axes, "rank of the row" if last else "", "share of positions" if index % columns == 0 else "")
    panels[0].set_ylim(bottom=0.7 * min(lowest_decade(forecast.selections) for forecast in shown.values()))
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    _legend(figure, [len(forecast.selections) for forecast in shown.values()])
    left_out = len(forecasts) - len(shown)
    more = f"; {left_out} more rows are not shown" if left_out else ""
    figure.suptitle(f"{name}: use of codebooks, the best run of each row{more}", fontsize=10, x=0.01, ha="left")
    return figure


def _fitting(name: str) -> str:
    """What grid cells are told apart by stands at the end."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"


def _legend(figure: Any, codebooks: Sequence[int]) -> None:
    """Of the codebooks that have colours of their own; a single one needs no name."""
    from matplotlib.lines import Line2D

    most = max((count for count in codebooks if count <= MOST_NAMED), default=0)
    if most > 1:
        lines = [Line2D([], [], color=COLOURS[index], label=codebook_name(index)) for index in range(most)]
        figure.legend(handles=lines, loc="outside lower center", ncols=most, fontsize=8, frameon=False)
