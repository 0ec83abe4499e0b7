"""``reproduce``: runs one recorded trial again and compares."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.command_line.errors import DONE, NO_SUCCESS, interruptible
from orchestrator.command_line.sweep_places import DEFAULT_STORAGE, Storage, run_at

if TYPE_CHECKING:
    from orchestrator.reproduce.recorded import RecordedRun
    from orchestrator.reproduce.rerun import RerunObserver

_LINES_OF_PROGRESS = 10


def _finite(tolerance: float | None) -> float | None:
    if tolerance is not None and not math.isfinite(tolerance):
        raise typer.BadParameter("it must be a number such as 0.01")
    return tolerance


def register(app: typer.Typer) -> None:
    app.command("reproduce")(interruptible(reproduce))


def reproduce(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="SWEEP/RUN, a path SWEEP/trials/RUN, or an MLflow run id", show_default=False),
    ],
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="stop after so many epochs (or steps)")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            min=0,
            callback=_finite,
            help="relative difference that counts as the same",
            show_default="0 on the same CPU setting, else 0.01",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
    storage: Storage = DEFAULT_STORAGE,
) -> int:
    """Runs one recorded run again from its own record and compares: status 0 the same, 1 it differs, 2 there is no such run."""
    from orchestrator.record import checked_events
    from orchestrator.reproduce.comparison import compare
    from orchestrator.reproduce.output import comparison_json, comparison_text
    from orchestrator.reproduce.recorded import NothingRecorded
    from orchestrator.reproduce.reference import RunNotFound, find_run
    from orchestrator.reproduce.rerun import rerun
    from orchestrator.sweep.recorded_space import recorded_specification

    try:
        recorded = find_run(*run_at(run, storage))
    except (RunNotFound, NothingRecorded) as error:
        # As a kind of error that the command line shows without a traceback.
        raise FileNotFoundError(error.args[0]) from error
    # Not ``space.yaml``, a copy that may have been edited or deleted.
    specification = recorded_specification(recorded.folder, checked_events(recorded.folder.record))
    reproduction = rerun(recorded, specification, steps, _progress(steps))
    comparison = compare(recorded, reproduction, tolerance)
    print(json.dumps(comparison_json(comparison), indent=1) if as_json else comparison_text(comparison))
    return DONE if comparison.same else NO_SUCCESS


def _progress(steps: int | None) -> RerunObserver:
    from orchestrator.reproduce.output import printable, provenance_text
    from orchestrator.reproduce.provenance import compare_provenance
    from orchestrator.reproduce.rerun import RerunObserver

    class Printer(RerunObserver):
        """On stderr: what differs from then, and about ten lines on the way."""

        def begins(self, recorded: RecordedRun, provenance: Mapping[str, str]) -> None:
            _say(provenance_text(compare_provenance(recorded, provenance)))

        def data_made_anew(self, recorded: RecordedRun) -> None:
            _say(f"the prepared data in {printable(str(recorded.folder.artifacts))} are not those of the record: made anew")

        def reported(self, recorded: RecordedRun, step: int) -> None:
            total = min(recorded.last_step, steps or recorded.last_step)
            if total and (step >= total or step % -(-total // _LINES_OF_PROGRESS) == 0):
                _say(f"step {step} of {total}")

    return Printer()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
