"""The result table: one row an entry (or grid cell), its best trial, what varies, its size and its memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.report.collect import BestTrial, SweepData, best_trials, outcome_counts
from orchestrator.space.value import Constant

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """Header and rows of text; ``note`` says what the numbers are."""

    header: list[str]
    rows: list[list[str]]
    note: str

    def markdown(self) -> str:
        """A table that can be pasted into a paper's draft; columns aligned for reading as plain text too."""
        widths = [max(len(line[i]) for line in [self.header, *self.rows]) for i in range(len(self.header))]
        lines = [_line(self.header, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
        return "\n".join([*lines, *(_line(row, widths) for row in self.rows), "", self.note, ""])

    def csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.header, *self.rows])
        return text.getvalue()


def result_table(data: SweepData) -> Table:
    """The table of one sweep, best row first; rows without a completed trial stand last."""
    bests = best_trials(data)
    objective = data.specification.objective
    varied = varied_parameters(data)
    scopes = _scopes(data)
    memory, memory_label = memory_metric(bests)
    shown = [objective.metric] + ([] if objective.at == "best" else ["best step"])
    shown += ["solved at"] if _solved(bests) else []
    header = ["entry", *shown, *varied, *(f"params/{scope}" for scope in scopes), memory_label, "train s", "trials"]
    rows = [_row(data, best, varied, scopes, memory, _solved(bests)) for best in bests]
    without = [space.name for space in data.specification.spaces if space.name not in {best.row for best in bests}]
    rows += [_empty_row(data, name, header) for name in without]
    return Table(header, rows, _note(data, memory))


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


def memory_metric(bests: Sequence[BestTrial]) -> tuple[str, str]:
    """The measured peak to show: of the GPU where there is one, else of the process on the host."""
    if any(best.metric("vram/peak_reserved_mib") is not None for best in bests):
        return "vram/peak_reserved_mib", "peak VRAM MiB"
    return "memory/peak_host_mib", "peak host MiB"


def number(value: float | None) -> str:
    """Four significant digits; whole numbers as they are, with thousands separated."""
    if value is None:
        return MISSING
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def _solved(bests: Sequence[BestTrial]) -> bool:
    """Whether any best trial has reached its task's target."""
    return any(best.metric("solved_epoch") is not None for best in bests)


def _solved_at(best: BestTrial) -> str:
    """The mean over the runs that solved the task, and how many did where not all."""
    solving = sum("solved_epoch" in run.metrics for run in best.runs)
    share = f" ({solving} of {len(best.runs)})" if 0 < solving < len(best.runs) else ""
    return number(best.metric("solved_epoch")) + share


def _row(data: SweepData, best: BestTrial, varied: Sequence[str], scopes: Sequence[str], memory: str, solved: bool) -> list[str]:
    value = f"{best.value:.4g}" + (f" ± {best.spread:.2g}" if best.spread is not None else "")
    shown = [value] if data.specification.objective.at == "best" else [value, f"{best.best_value:.4g}"]
    shown += [_solved_at(best)] if solved else []
    parameters = [_parameter(best.parameters.get(name)) for name in varied]
    sizes = [number(best.metric(f"params/{scope}")) for scope in scopes]
    peak, seconds = best.metric(memory), best.metric("time/train_s")
    measured = [MISSING if peak is None else f"{peak:.0f}", MISSING if seconds is None else f"{seconds:.1f}"]
    return [best.row, *shown, *parameters, *sizes, *measured, _trials(data, best.row)]


def _empty_row(data: SweepData, space: str, header: Sequence[str]) -> list[str]:
    return [space, *[MISSING] * (len(header) - 2), _trials(data, space)]


def _trials(data: SweepData, space: str) -> str:
    counts = outcome_counts(data, space)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "0"


def _scopes(data: SweepData) -> list[str]:
    budget = data.specification.spaces[0].budget
    return list(dict.fromkeys([budget.scope if budget else "block", "total"]))


def _parameter(value: object) -> str:
    if value is None:
        return MISSING
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _note(data: SweepData, memory: str) -> str:
    specification = data.specification
    objective, budget = specification.objective, specification.spaces[0].budget
    how = "at the last step" if objective.at == "last" else "at the best step"
    better = "larger" if objective.mode == "max" else "smaller"
    parts = [f"{specification.task_type.name}: {objective.metric} ({better} is better) {how}"]
    if specification.search.replicates > 1:
        parts.append(f"mean ± standard deviation of {specification.search.replicates} seeds")
    if budget:
        parts.append(f"every trial within {budget.describe()}")
    if _solved(best_trials(data)):
        parts.append(f"solved at: the first {specification.task_type.progress_unit} at the task's target")
    parts.append(f"memory is {memory}, measured")
    return "; ".join(parts) + "."


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
