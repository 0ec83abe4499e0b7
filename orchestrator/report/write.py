"""Writes the files of a report: tables as markdown and CSV, everything as JSON, figures as PNG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.report.collect import SweepData, best_trials, load_sweep, runs_as_json
from orchestrator.report.figure import draw_figure
from orchestrator.report.table import result_table
from orchestrator.sweep.folder import SweepFolder


def report_json(data: SweepData) -> dict[str, Any]:
    """The document of ``report --json`` for one sweep."""
    bests = {
        best.row: {"trial": best.trial.id, "value": best.value, "best_value": best.best_value, "config": best.parameters}
        for best in best_trials(data)
    }
    return {"sweep": data.name, "trials": runs_as_json(data), "best": bests}


def write_report(sweeps: Sequence[SweepFolder], output: Path) -> list[Path]:
    """Writes ``table.md``, ``table.csv``, ``report.json`` and ``figure.png`` (of several sweeps with their names before)."""
    output.mkdir(parents=True, exist_ok=True)
    written = []
    for folder in sweeps:
        data = load_sweep(folder)
        prefix = f"{data.name}-" if len(sweeps) > 1 else ""
        table = result_table(data)
        texts = {
            "table.md": table.markdown(),
            "table.csv": table.csv(),
            "report.json": json.dumps(report_json(data), indent=1) + "\n",
        }
        for name, text in texts.items():
            written.append(output / f"{prefix}{name}")
            written[-1].write_text(text)
        if draw_figure(data, output / f"{prefix}figure.png"):
            written.append(output / f"{prefix}figure.png")
    return written
