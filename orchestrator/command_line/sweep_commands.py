"""``run``, ``resume``, ``sync``, ``report`` and ``ui``; and the commands whose names are reserved until they are built."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.command_line.errors import DONE, INTERRUPTED, NO_SUCCESS, WRONG_INPUT, interruptible
from orchestrator.command_line.space_commands import Overrides, Space
from orchestrator.command_line.sweep_places import (
    DEFAULT_STORAGE,
    Storage,
    found_sweep,
    options_at,
    read_sweep,
    storage_folder,
    where_mlflow_is,
)
from trainables.redaction import redact

if TYPE_CHECKING:
    from orchestrator.storage import StoredSweeps

RESERVED = ("status",)

TrackingUri = Annotated[
    str | None, typer.Option("--tracking-uri", metavar="URI", help="MLflow; default: mlflow.db in the storage")
]

Address = Annotated[str | None, typer.Option("--address", help="a Ray cluster to join; default: this machine")]

TakeOver = Annotated[
    bool, typer.Option("--take-over", help="take a stored sweep from a driver that may be alive, and cannot be reached to end it")
]


def register(app: typer.Typer) -> None:
    app.command("run")(interruptible(run))
    app.command("resume")(interruptible(resume))
    app.command("sync")(sync)
    app.command("report")(report)
    app.command("ui")(ui)
    for name in RESERVED:
        settings = {"allow_extra_args": True, "ignore_unknown_options": True}
        app.command(name, context_settings=settings, help="Not available yet.")(_not_yet)


def _not_yet(context: typer.Context) -> int:
    print(f"error: `memsweep {context.info_name}` is not available yet", file=sys.stderr)
    return WRONG_INPUT


def run(
    space: Space,
    name: Annotated[str | None, typer.Option("--name", help="name of the sweep; default: the one in the file")] = None,
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="trials of each study")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="never ask")] = False,
    storage: Storage = DEFAULT_STORAGE,
    tracking_uri: TrackingUri = None,
    address: Address = None,
    or_resume: Annotated[
        bool, typer.Option("--or-resume", help="go on with the sweep where there is one of this name, as it was begun")
    ] = False,
) -> int:
    """Runs a sweep to its end and prints the result table. Ctrl-C interrupts it; nothing that was reported is lost."""
    from orchestrator.check import check_feasibility
    from orchestrator.command_line.progress import ProgressPrinter, is_interactive
    from orchestrator.launch import SweepExists, launch
    from orchestrator.space.reading import read_search_space
    from orchestrator.space.specification import renamed

    sets = [*(overrides or ()), *([f"search.trials={trials}"] if trials else [])]
    specification = renamed(read_search_space(space, sets), name)
    _, diagnostics = check_feasibility(specification)
    diagnostics.raise_if_any(specification.source)
    options = options_at(storage, specification.name, tracking_uri, address)
    if not yes and is_interactive() and not _confirmed(specification, options.storage):
        return WRONG_INPUT
    try:
        result = launch(specification, options, ProgressPrinter(where_mlflow_is(options)))
    except SweepExists:
        if not or_resume:
            raise
        return resume(specification.name, trials, None, storage, tracking_uri, address)
    return _conclude(result, tracking_uri, options.stored)


def resume(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="a folder, or a name under --storage", show_default=False)],
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="new total of trials of each study")] = None,
    space: Annotated[
        Path | None, typer.Option("--space", metavar="EDITED.yaml", help="an edited search space; trials that lie in it are kept")
    ] = None,
    storage: Storage = DEFAULT_STORAGE,
    tracking_uri: TrackingUri = None,
    address: Address = None,
    take_over: TakeOver = False,
) -> int:
    """Goes on with a sweep that was interrupted or killed; with --trials or --space also with one that has ended."""
    from orchestrator.command_line.progress import ProgressPrinter
    from orchestrator.launch import resume as resume_sweep

    folder, options = found_sweep(sweep, storage, tracking_uri, address, take_over)
    return _conclude(
        resume_sweep(folder, trials, options, ProgressPrinter(where_mlflow_is(options)), space), tracking_uri, options.stored
    )


def sync(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="a folder, or a name under --storage", show_default=False)],
    everything: Annotated[bool, typer.Option("--all", help="the whole record, for a store that was lost")] = False,
    storage: Storage = DEFAULT_STORAGE,
    tracking_uri: TrackingUri = None,
) -> int:
    """Delivers to MLflow what could not be delivered while the sweep ran. Delivering twice changes nothing."""
    from orchestrator.launch import synchronize

    folder, options = found_sweep(sweep, storage, tracking_uri)
    result = synchronize(folder, tracking_uri, everything, options)
    if result.rejected:
        print(f"MLflow refuses {result.rejected} values for good: see {folder.spool / 'rejected.jsonl'}", file=sys.stderr)
    if result.undelivered:
        print(f"{result.undelivered} events could not be delivered ({result.error}); try again later", file=sys.stderr)
        return NO_SUCCESS
    where = options.stored.folder / "mlflow.db" if options.stored is not None and tracking_uri is None else "MLflow"
    print(f"everything that {folder.name} recorded is in {where}")
    return DONE


def _confirmed(specification: object, storage: Path) -> bool:
    from orchestrator.plan import make_plan, reason_to_ask
    from orchestrator.space.specification import SweepSpecification

    assert isinstance(specification, SweepSpecification)
    reason = reason_to_ask(make_plan(specification), storage)
    return reason is None or typer.confirm(f"{reason}: run it?", err=True)


def _conclude(result: object, tracking_uri: str | None, stored: StoredSweeps | None = None) -> int:
    from orchestrator.launch import LaunchResult

    assert isinstance(result, LaunchResult)
    folder = result.folder
    sweep = folder.path if stored is None else stored.location.child(folder.name).uri
    print((folder.report / "table.md").read_text())
    named = str(sweep) if tracking_uri is None else f"{sweep} --tracking-uri {redact(tracking_uri)}"
    written = ", ".join(sorted(path.name for path in folder.report.iterdir()))
    print(f"files:     {folder.report}/ ({written})")
    print(f"MLflow UI: memsweep ui {sweep}" if tracking_uri is None else f"MLflow:    {redact(tracking_uri)}")
    if result.undelivered:
        reason = f"{result.undelivered} events could not be delivered to MLflow ({result.tracking_error})"
        print(f"{reason}; nothing is lost: deliver them with  memsweep sync {named}", file=sys.stderr)
    if result.failure:
        print(f"error: {result.failure}", file=sys.stderr)
        print(f"what was made is kept: go on with  memsweep resume {named}", file=sys.stderr)
        return NO_SUCCESS
    if result.interrupted:
        print(f"interrupted: continue with  memsweep resume {named}", file=sys.stderr)
        return INTERRUPTED
    if not result.completed_trials:
        print("no trial completed: `outcome` and `error` of each run are in MLflow and in record.jsonl", file=sys.stderr)
        return NO_SUCCESS
    return DONE


def report(
    sweeps: Annotated[list[str], typer.Argument(metavar="SWEEP…", help="folders, or names under --storage", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
    output: Annotated[Path | None, typer.Option("--output", metavar="DIR", help="also write the files there")] = None,
    storage: Storage = DEFAULT_STORAGE,
    tracking_uri: TrackingUri = None,
) -> int:
    """Tables and figures of one or several sweeps, from their records alone: the tracking server is not asked."""
    from orchestrator.report.collect import load_sweep
    from orchestrator.report.write import report_json, report_markdown, write_report

    folders = [read_sweep(sweep, storage, exhibits=True) for sweep in sweeps]
    if output is not None:
        for path in write_report(folders, output):
            print(f"wrote {path}", file=sys.stderr)
    loaded = [load_sweep(folder) for folder in folders]
    if as_json:
        documents = [report_json(data) for data in loaded]
        print(json.dumps(documents[0] if len(documents) == 1 else documents, indent=1))
        return DONE
    for data in loaded:
        print(f"# {data.name}\n\n{report_markdown(data)}")
    return DONE


def ui(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="a sweep whose storage to show")] = None,
    storage: Storage = DEFAULT_STORAGE,
    tracking_uri: TrackingUri = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="port on the loopback interface")] = 5000,
) -> int:
    """Opens the MLflow UI on loopback, until Ctrl-C."""
    home = read_sweep(sweep, storage).path.resolve().parent if sweep else storage_folder(storage).resolve()
    uri = tracking_uri or f"sqlite:///{home / 'mlflow.db'}"
    if tracking_uri is None and not (home / "mlflow.db").is_file():
        raise FileNotFoundError(f"there is no mlflow.db in {home}: run a sweep first, or give --storage or --tracking-uri")
    if uri.startswith(("http://", "https://")):
        print(f"this tracking server has its own UI: {redact(uri)}")
        return DONE
    print(f"MLflow UI: http://127.0.0.1:{port} (Ctrl-C ends it)", file=sys.stderr)
    print("all runs side by side: search for  tags.`memsweep.kind` = 'run'", file=sys.stderr)
    arguments = ["--backend-store-uri", uri, "--artifacts-destination", str(home / "mlartifacts")]
    arguments += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--uvicorn-opts", "--log-level warning"]
    return _serve([sys.executable, "-m", "mlflow", "server", *arguments])


def _serve(command: list[str]) -> int:
    """Runs a server in a process group of its own until it ends or Ctrl-C, and leaves none of its processes behind."""
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return DONE
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
