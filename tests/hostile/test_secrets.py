"""Secrets planted wherever a sweep could pick them up: none is in MLflow, in the record, in a report, or printed.

``record.jsonl`` holds the search space as it was written, because that is what is run again; a path or a token that a person
writes into it stays there, and in the files of the report and the copy ``space.yaml``, which show configurations. An operation in
``spool/`` names the file to upload by its path until it is delivered. Neither leaves the machine as a param or a tag.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from search_space_text import specified

from orchestrator.launch.open_sweep import OpenSweep
from orchestrator.launch.tracked import tracked
from orchestrator.record import Journal, checked_events
from orchestrator.space.specification import renamed
from orchestrator.sweep.controller import SweepController
from orchestrator.sweep.folder import SweepFolder

REPOSITORY = Path(__file__).parents[2]
TOKEN, HEADER, PASSWORD = "hf_PlantedTokenOfAnn", "Basic planted+header/value==", "planted:pass-word"
ENVIRONMENT = {
    "HF_TOKEN": TOKEN,
    "SERVICE_AUTH": HEADER,
    "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    "CLOUD_SECRET_KEY": "AKIAplanted0",
}
URI = f"http://ann:{PASSWORD}@127.0.0.1:9"

SPACE = """
task: {name: mqar, vocab_size: 64, input_seq_len: 32, num_kv_pairs: 4, train_examples: 100, val_examples: 20}
architectures: {gpt: {dim: 16, n_layers: 1, n_heads: 2, dk: {int: [2, 16], step: 2}, dv: 8}}
training: {epochs: 2}
objective: {metric: val/accuracy, mode: max}
search: {sampler: random, trials: 2}
"""

_LEAKY = """
import os
from dataclasses import dataclass
from pathlib import Path
from trainables.architecture import register_architecture, registered_architectures
from trainables.architectures.gpt import Gpt, GptConfiguration
from trainables.configuration import hyperparameter

@dataclass(frozen=True, kw_only=True)
class LeakyConfiguration(GptConfiguration):
    cache: str = hyperparameter("", "a folder")

class Leaky(Gpt):
    def hidden_states(self, ids):
        secrets = [os.environ[name] for name in {names!r}]
        raise RuntimeError(f"cannot read {{Path.home() / 'private' / 'data'}} with {{secrets}} from {uri}")

def register():
    if "leaky" not in registered_architectures():
        register_architecture("leaky", configuration=LeakyConfiguration, kind="tokens")(Leaky)
"""
_PROGRAM = """
import logging, sys
import leaky
leaky.register()
from orchestrator.command_line.app import run
from orchestrator.ray_executor.cluster import QUIET_ENVIRONMENT
from orchestrator.ray_executor.security import closed_ray
import os
os.environ.update(QUIET_ENVIRONMENT)
with closed_ray():
    import ray
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
             runtime_env={"worker_process_setup_hook": "leaky.register"})
    statuses = [run(["run", "space.yaml", "--storage", "sweeps", "--name", "s", "--yes"])]
    statuses += [run(["sync", "sweeps/s", "--all"]), run(["report", "sweeps/s"]), run(["report", "sweeps/s", "--json"])]
assert statuses == [1, 0, 0, 0], statuses
"""


def planted(home: Path) -> list[str]:
    return [*ENVIRONMENT.values(), *(json.dumps(value)[1:-1] for value in ENVIRONMENT.values()), str(home), "ann:"]


def leaks(text: str, home: Path) -> set[str]:
    return {secret for secret in planted(home) if secret in text}


def texts_of_store(database: Path) -> dict[str, str]:
    """Everything that a person could see of runs and experiments, less where their artifacts lie on this machine."""
    queries = {
        "params": "SELECT key, value FROM params",
        "tags": "SELECT key, value FROM tags",
        "metrics": "SELECT DISTINCT key FROM metrics",
        "runs": "SELECT name, user_id, source_name, source_type, entry_point_name, source_version FROM runs",
        "experiments": "SELECT name FROM experiments",
        "experiment_tags": "SELECT key, value FROM experiment_tags",
    }
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return {name: "\n".join(map(repr, connection.execute(query))) for name, query in queries.items()}


def files_below(*folders: Path) -> dict[str, str]:
    paths = [path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes().decode("utf-8", "replace") for path in paths}


def assert_no_leak(texts: dict[str, str], home: Path) -> None:
    assert {name: found for name, text in texts.items() if (found := leaks(text, home))} == {}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder, in which the sweep lies, and an environment with secrets."""
    home = tmp_path / "home" / "ann"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    yield home


def test_the_search_finds_what_is_planted(home: Path) -> None:
    for secret in planted(home):
        assert leaks(f"x{secret}y", home)
    assert not leaks("~/sweeps and //***@127.0.0.1", home)


def error_of_a_trial(home: Path) -> dict[str, str]:
    """As an older worker, or one of another machine, would tell it: with nothing masked."""
    text = f"{home}/data with {TOKEN}, {HEADER} from {URI}"
    return {
        "type": "OSError",
        "message": text,
        "traceback": f'Traceback:\n  File "{home}/sweeps/own.py", line 3\nOSError: {text}',
    }


def payload(run: str, progress: int, **more: Any) -> dict[str, Any]:
    nothing = {"fingerprint": None, "metrics": {}, "once": {}, "outcome": None, "error": None}
    return {"run": run, "progress": progress, **nothing, **more}


def recorded_sweep(home: Path, tracking_uri: str | None) -> tuple[SweepFolder, str | None]:
    """A sweep of a run that completes with a warning and one that fails, and why the tracker did not take it, if so."""
    folder = SweepFolder(home / "sweeps" / "s")
    folder.path.mkdir(parents=True)
    folder.space.write_text(SPACE)
    specification = renamed(specified(SPACE), "s")
    header = {"kind": "sweep", "format": 1, "name": "s", "identity": "abc", "version": "0", "task": "mqar", "space": SPACE}
    with Journal(folder.record) as journal:
        sweep = OpenSweep(specification, folder, journal, [])
        sweep.record(header | {"own_tracking": tracking_uri is not None})
        with tracked(sweep, tracking_uri) as telemetry:
            controller = SweepController(specification, folder, journal, telemetry, events=sweep.events)
            first, second = controller.next_run(), controller.next_run()
            assert first and second
            begun = {"continued_from": 0, "provenance": {"device": f"cpu of {home}", "torch": TOKEN}}
            warning = f"no checkpoint: {home}/sweeps is full ({TOKEN})"
            controller.on_result(first.run, payload(first.run, 1, begun=begun, warning=warning, metrics={"val/accuracy": 0.5}))
            controller.on_result(first.run, payload(first.run, 2, outcome="completed", metrics={"val/accuracy": 0.5}))
            controller.on_result(second.run, payload(second.run, 0, outcome="failed", error=error_of_a_trial(home)))
            telemetry.tracker.flush(60 if tracking_uri is None else 1)
            return folder, telemetry.tracker.last_error


def test_what_mlflow_is_told_is_masked_whoever_reported_it(home: Path) -> None:
    folder, error = recorded_sweep(home, None)
    assert error is None
    texts = texts_of_store(folder.path.parent / "mlflow.db")
    assert (
        "cannot" not in texts["tags"]
        and "OSError: ~/data with ***" in texts["tags"]
        and "no checkpoint: ~/sweeps" in texts["tags"]
    )
    assert_no_leak(texts, home)


def test_neither_a_user_nor_a_machine_nor_a_script_is_named(home: Path) -> None:
    folder, _ = recorded_sweep(home, None)
    with sqlite3.connect(folder.path.parent / "mlflow.db") as connection:
        users = {user for (user,) in connection.execute("SELECT user_id FROM runs")}
        tags = dict(connection.execute("SELECT key, value FROM tags WHERE key LIKE 'mlflow.%'"))
    assert users <= {"", None, "unknown"} and getpass.getuser() not in users
    assert tags.keys() == {"mlflow.runName", "mlflow.source.name", "mlflow.source.type", "mlflow.parentRunId"}
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("memsweep", "LOCAL")


def test_the_password_of_a_tracking_uri_is_written_and_told_nowhere(home: Path) -> None:
    folder, error = recorded_sweep(home, URI)
    assert error and PASSWORD not in error
    spool = files_below(folder.spool)
    assert any(name.endswith(".jsonl") for name in spool), "nothing was left in the spool"
    texts = files_below(folder.path)
    assert {name for name, text in texts.items() if PASSWORD in text or "ann:" in text} <= {str(folder.record)}


def test_what_waits_in_the_spool_names_no_secret_and_no_home_but_the_file_to_upload(home: Path) -> None:
    folder, _ = recorded_sweep(home, URI)
    for name, text in files_below(folder.spool).items():
        operations = [json.loads(line)["operation"] for line in text.splitlines() if '"operation"' in line]
        assert_no_leak({name: json.dumps([operation for operation in operations if operation[0] != "artifact"])}, home)
        uploads = [operation[3]["local_path"] for operation in operations if operation[0] == "artifact"]
        assert all(path == str(folder.space) for path in uploads)


def test_a_whole_sweep_on_ray_whose_trials_tell_all_they_know_leaks_nothing(home: Path) -> None:
    """The worker masks what it reports, so that not even the record has it; a choice of the space holds the home folder."""
    (home / "leaky.py").write_text(_LEAKY.format(names=sorted(ENVIRONMENT), uri=URI))
    cache = home / "cache"
    space = SPACE.replace("gpt: {", "leaky: {cache: {choice: [" + f"{cache}, {TOKEN}" + "]}, ")
    (home / "space.yaml").write_text(space)
    completed = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=home,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(home), str(REPOSITORY)])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    folder = SweepFolder(home / "sweeps" / "s")
    events = checked_events(folder.record)
    errors = [event["error"] for event in events if event["kind"] == "outcome"]
    assert len(errors) == 2 and all("cannot read ~/private/data" in error["message"] for error in errors)
    texts = texts_of_store(folder.path.parent / "mlflow.db")
    assert re.search(r"'cache', '(~/cache|\*\*\*)'", texts["params"])
    assert_no_leak(texts, home)
    as_written = ("sweep", "suggestion", "start")
    texts = {
        f"{event['kind']} {number}": json.dumps(event) for number, event in enumerate(events) if event["kind"] not in as_written
    }
    assert_no_leak(texts, home)
    assert_no_leak(files_below(folder.spool), home)
    assert_no_leak({"stderr": completed.stderr}, home)
    table, _, _ = completed.stdout.partition('{\n "sweep"')
    assert_no_leak({"tables": table, **files_below(folder.report / "table.md", folder.report / "table.csv")}, home)
