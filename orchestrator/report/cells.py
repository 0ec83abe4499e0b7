"""What the tables of a report share: their form, and how values become the text of a cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.report.collect import Measured, SweepData, TrialSummary
from orchestrator.space.value import Constant
from orchestrator.sweep.naming import shortened

MISSING = "–"
VRAM, HOST = "vram/peak_reserved_mib", "memory/peak_host_mib"
PEAKS = {VRAM: "peak VRAM MiB", HOST: "peak host MiB"}
"""The measured peaks of memory with the titles of their columns."""
_DIGITS = {"_mib": 0, "_s": 1}


@dataclass(frozen=True)
class Table:
    """Header and rows of text; ``note`` says what the numbers are."""

    header: list[str]
    rows: list[list[str]]
    note: str

    def markdown(self) -> str:
        """A table that can be pasted into a paper's draft; columns aligned for reading as plain text too."""
        rows = [[cell.replace("|", "\\|") for cell in row] for row in self.rows]
        widths = [max(len(line[i]) for line in [self.header, *rows]) for i in range(len(self.header))]
        lines = [_line(self.header, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
        return "\n".join([*lines, *(_line(row, widths) for row in rows), "", self.note, ""])

    def csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.header, *self.rows])
        return text.getvalue()


def varied_parameters(data: SweepData) -> list[str]:
    """The names of what differs within an entry or between entries, as compared across architectures: the model's first."""
    found: dict[str, None] = {}
    for space in data.specification.spaces:
        for name, field in space.fields.items():
            if name in space.grid or (field.written and not isinstance(field.value, Constant)):
                found[name] = None
    of_the_model = [name for name in found if "." not in name]
    others = [name if name.startswith("task.") else name.rpartition(".")[2] for name in found if "." in name]
    return list(dict.fromkeys(of_the_model + others))


def memory_metric(trials: Sequence[TrialSummary]) -> tuple[str, str]:
    """The measured peak to show: of the GPU where there is one, else of the process on the host."""
    metric = VRAM if any(trial.metric(VRAM) is not None for trial in trials) else HOST
    return metric, PEAKS[metric]


def shown_scopes(data: SweepData) -> list[str]:
    """The scopes of parameters to show: that of the budget, and the total; not those that are objectives and shown so."""
    budget, objectives = data.specification.spaces[0].budget, objective_metrics(data)
    scopes = dict.fromkeys([budget.scope if budget else "block", "total"])
    return [scope for scope in scopes if f"params/{scope}" not in objectives]


def objective_metrics(data: SweepData) -> list[str]:
    return data.specification.objective_names


def measured_columns(data: SweepData, trials: Sequence[TrialSummary]) -> dict[str, str]:
    """Metrics of memory and time with the titles of their columns; not those that are objectives and shown so."""
    memory, label = memory_metric(trials)
    titles = {memory: label, **({"time/train_s": "train s"} if data.specification.task_type.trains else {})}
    return {metric: title for metric, title in titles.items() if metric not in objective_metrics(data)}


def reported_metrics(data: SweepData, trials: Sequence[TrialSummary]) -> list[str]:
    """What the task has shown beside the objectives, as far as a run has it."""
    wanted = [metric for metric in data.specification.task_type.reported_metrics if metric not in objective_metrics(data)]
    return [metric for metric in wanted if any(trial.metric(metric) is not None for trial in trials)]


def measured_cells(trial: TrialSummary, columns: Iterable[str]) -> list[str]:
    """MiB without, seconds with a digit behind the point."""
    return [measured_text(metric, trial.metric(metric)) for metric in columns]


def measured_text(metric: str, value: float | None) -> str:
    """Of one metric: MiB without, seconds with a digit behind the point, anything else with four significant digits."""
    digits = next((digits for ending, digits in _DIGITS.items() if metric.endswith(ending)), None)
    return number(value) if value is None or digits is None else f"{value:.{digits}f}"


def number(value: float | None) -> str:
    """Four significant digits; whole numbers, and the whole part of large ones, as they are, with thousands separated."""
    if value is None:
        return MISSING
    if abs(value) < 1e15 and (float(value).is_integer() or abs(value) >= 1e4):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def with_spread(measured: Measured) -> str:
    """``0.98 ± 0.012``; without the spread for a single run."""
    return number(measured.value) + (f" ± {measured.spread:.2g}" if measured.spread is not None else "")


def parameter(value: object) -> str:
    """A value of a configuration, in short (see :func:`orchestrator.sweep.naming.shortened`)."""
    return MISSING if value is None else shortened(value)


def parameter_cells(data: SweepData, trial: TrialSummary) -> list[str]:
    """What varies, then the sizes: as many cells as :func:`parameter_header` has."""
    varied = [parameter(trial.parameters.get(name)) for name in varied_parameters(data)]
    return varied + [number(trial.metric(f"params/{scope}")) for scope in shown_scopes(data)]


def parameter_header(data: SweepData) -> list[str]:
    return [*varied_parameters(data), *(f"params/{scope}" for scope in shown_scopes(data))]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
