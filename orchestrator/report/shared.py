"""What runs share beyond data, and what making it cost: apart from the runs, which it would otherwise flatter."""

from __future__ import annotations

from typing import Any

from orchestrator.report.cells import HOST, MISSING, PEAKS, Table, number
from orchestrator.report.collect import SweepData


def shared_table(data: SweepData) -> Table | None:
    """A row for each stage that completed runs used; None where runs share nothing."""
    rows = shared_json(data)
    if not rows:
        return None
    peak = next((metric for metric in PEAKS if any(metric in row["metrics"] for row in rows)), HOST)
    header = ["shared", "what", "made in s", PEAKS[peak], "MiB on disk", "runs", "entries"]
    cells = [
        [
            row["stage"],
            row["title"] or MISSING,
            number(row["metrics"].get("time/total_s")),
            number(row["metrics"].get(peak)),
            MISSING if row["bytes"] is None else f"{row['bytes'] / 2**20:.1f}",
            str(row["runs"]),
            ", ".join(row["entries"]),
        ]
        for row in rows
    ]
    return Table(header, cells, "Made once, before the runs that use it, whose own time and memory do not include it.")


def shared_json(data: SweepData) -> list[dict[str, Any]]:
    """The stages of the kept runs: ``stage`` (the folder's name), ``title``, ``metrics``, ``bytes``, ``runs``, ``entries``."""
    found: dict[str, dict[str, Any]] = {}
    for trial, run in data.kept_runs:
        for stage in run.provenance.get("stages", "").split():
            known = data.state.prepared.get(stage, {"title": "", "metrics": {}, "bytes": None})
            row = found.setdefault(stage, {"stage": stage, **known, "runs": 0, "entries": []})
            row["runs"] += 1
            if trial.entry not in row["entries"]:
                row["entries"].append(trial.entry)
    return list(found.values())
