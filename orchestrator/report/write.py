"""Writes the files of a report: tables as markdown and CSV, everything as JSON, figures as PNG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.report.cells import objective_metrics
from orchestrator.report.collect import SweepData, TrialSummary, best_trials, front_trials, load_sweep, runs_as_json
from orchestrator.report.figure import draw_figure
from orchestrator.report.front_table import front_table
from orchestrator.report.table import result_table
from orchestrator.sweep.folder import SweepFolder
from trainables.redaction import redact


def report_json(data: SweepData) -> dict[str, Any]:
    """The document of ``report --json`` for one sweep."""
    return {
        "sweep": data.name,
        "objectives": [asdict(objective) for objective in data.specification.objectives],
        "trials": runs_as_json(data),
        "best": {best.row: _best_json(data, best) for best in best_trials(data)},
        "pareto": [summary.trial.id for summary in front_trials(data)],
    }


def report_markdown(data: SweepData) -> str:
    """The result table; with several objectives the Pareto front below it."""
    table = result_table(data).markdown()
    if len(data.specification.objectives) == 1:
        return table
    return f"{table}\nPareto front\n\n{front_table(data).markdown()}"


def write_report(sweeps: Sequence[SweepFolder], output: Path) -> list[Path]:
    """Writes ``table.md``, ``table.csv``, ``report.json`` and ``figure.png``, with several objectives also ``pareto.csv``;
    of several sweeps with their names before."""
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for folder in sweeps:
        data = load_sweep(folder)
        prefix = f"{data.name}-" if len(sweeps) > 1 else ""
        for name, text in _texts(data).items():
            written.append(output / f"{prefix}{name}")
            written[-1].write_text(text)
        if draw_figure(data, output / f"{prefix}figure.png"):
            written.append(output / f"{prefix}figure.png")
    return written


def _texts(data: SweepData) -> dict[str, str]:
    several = len(data.specification.objectives) > 1
    return {
        "table.md": redact(report_markdown(data)),
        "table.csv": result_table(data).csv(),
        **({"pareto.csv": front_table(data).csv()} if several else {}),
        "report.json": json.dumps(report_json(data), indent=1) + "\n",
    }


def _best_json(data: SweepData, best: TrialSummary) -> dict[str, Any]:
    return {
        "trial": best.trial.id,
        "value": best.first.value,
        "best_value": best.first.best_value,
        "values": {metric: measured.value for metric, measured in zip(objective_metrics(data), best.objectives, strict=True)},
        "config": best.parameters,
    }
