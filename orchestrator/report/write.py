"""Writes the files of a report: tables as markdown and CSV, everything as JSON, figures as PNG."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.report.cells import objective_metrics
from orchestrator.report.collect import SweepData, TrialSummary, best_trials, front_trials, load_sweep, runs_as_json
from orchestrator.report.exhibits import RowExhibits, copy_pictures, shown_exhibits, shown_forecasts
from orchestrator.report.front_table import front_table
from orchestrator.report.length_table import length_table, length_values
from orchestrator.report.lengths import lengths_json
from orchestrator.report.parts import part_tables
from orchestrator.report.pictures.codebooks import draw_codebooks
from orchestrator.report.pictures.forecasts import draw_forecasts
from orchestrator.report.pictures.lengths import draw_lengths
from orchestrator.report.pictures.overview import draw_figure
from orchestrator.report.pictures.positions import draw_positions
from orchestrator.report.pictures.slices import draw_slices
from orchestrator.report.positions import position_table
from orchestrator.report.shared import shared_json, shared_table
from orchestrator.report.summary import summary_json, summary_table
from orchestrator.report.table import result_table
from orchestrator.sweep.folder import SweepFolder
from trainables.redaction import redact


def report_json(data: SweepData, exhibits: Sequence[RowExhibits] | None = None) -> dict[str, Any]:
    """The document of ``report --json`` for one sweep; ``exhibits`` where they have been looked for already."""
    return {
        "sweep": data.name,
        "objectives": [asdict(objective) for objective in data.specification.objectives],
        "trials": runs_as_json(data),
        "summary": summary_json(data, exhibits),
        "best": {best.row: _best_json(data, best) for best in best_trials(data)},
        "shared": shared_json(data),
        "by_length": lengths_json(data),
        "pareto": [summary.trial.id for summary in front_trials(data)],
    }


def report_markdown(data: SweepData) -> str:
    """The result table; below it with several objectives the Pareto front, and what runs share, where they do."""
    parts = [result_table(data).markdown()]
    if len(data.specification.objectives) > 1:
        parts.append(f"Pareto front\n\n{front_table(data).markdown()}")
    if shared := shared_table(data):
        parts.append(shared.markdown())
    return "\n".join(parts)


def write_report(sweeps: Sequence[SweepFolder], output: Path) -> list[Path]:
    """Writes ``table.md``, ``table.csv``, ``report.json`` and the pictures; with several objectives also ``pareto.csv``, where
    runs have exhibits also ``summary.md`` and ``pictures/``; of several sweeps with their names before. Returns the paths.

    Where the task measures by length also ``by_length.md`` and ``by_length.csv`` (a line a value), by position in the sequence
    ``by_position.csv``, by part, such as ``task``, ``by_task.md`` and ``by_task.csv``.
    """
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for folder in sweeps:
        data = load_sweep(folder)
        prefix = f"{data.name}-" if len(sweeps) > 1 else ""
        exhibits = shown_exhibits(data)
        for name, text in _texts(data, exhibits, prefix).items():
            written.append(output / f"{prefix}{name}")
            written[-1].write_text(text)
        written += copy_pictures(exhibits, output, prefix)
        written += _drawn(data, exhibits, output, prefix)
    return written


def _drawn(data: SweepData, exhibits: Sequence[RowExhibits], output: Path, prefix: str) -> list[Path]:
    """The pictures of the whole sweep, as far as there is something to draw."""
    forecasts = shown_forecasts(exhibits)
    pictures: dict[str, Callable[[Path], bool]] = {
        "figure.png": lambda path: draw_figure(data, path),
        "slices.png": lambda path: draw_slices(data, path),
        "by_length.png": lambda path: draw_lengths(data, path),
        "by_position.png": lambda path: draw_positions(data, path),
        "predictions.png": lambda path: draw_forecasts(data.name, forecasts, path),
        "codebook_usage.png": lambda path: draw_codebooks(data.name, forecasts, path),
    }
    return [path for name, draw in pictures.items() if draw(path := output / f"{prefix}{name}")]


def _texts(data: SweepData, exhibits: Sequence[RowExhibits], prefix: str) -> dict[str, str]:
    several = len(data.specification.objectives) > 1
    summary = summary_table(data, exhibits, prefix)
    return {
        "table.md": redact(report_markdown(data)),
        "table.csv": result_table(data).csv(),
        **({"pareto.csv": front_table(data).csv()} if several else {}),
        **({"summary.md": redact(summary.markdown())} if summary else {}),
        **_measured_apart(data),
        "report.json": json.dumps(report_json(data, exhibits), indent=1) + "\n",
    }


def _measured_apart(data: SweepData) -> dict[str, str]:
    """The tables by length, by position and by part, as far as there is something in them."""
    lengths, parts = length_table(data), part_tables(data)
    values = {"by_length.csv": length_values(data), "by_position.csv": position_table(data)}
    return {
        **({"by_length.md": redact(lengths.markdown())} if lengths else {}),
        **{name: table.csv() for name, table in values.items() if table},
        **{f"by_{kind}.md": redact(table.markdown()) for kind, table in parts.items()},
        **{f"by_{kind}.csv": table.csv() for kind, table in parts.items()},
    }


def _best_json(data: SweepData, best: TrialSummary) -> dict[str, Any]:
    return {
        "trial": best.trial.id,
        "value": best.first.value,
        "best_value": best.first.best_value,
        "values": {metric: measured.value for metric, measured in zip(objective_metrics(data), best.objectives, strict=True)},
        "config": best.parameters,
    }
