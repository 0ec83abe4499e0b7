"""Nothing that is read back from a file is unpickled: counted by Python itself, command by command, in a process of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_records import EVENTS, record

REPOSITORY = Path(__file__).parents[2]
SPACE = """
task: {name: mqar, vocab_size: 64, input_seq_len: 32, num_kv_pairs: 4, train_examples: 100, val_examples: 20}
architectures: {gpt: {dim: 16, n_layers: 1, n_heads: 2, dk: {int: [8, 16], step: 8}, dv: 8}}
training: {epochs: 3}
objective: {metric: val/accuracy, mode: max}
"""
TASK = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 100, "val_examples": 20}
MODEL = {"dim": 16, "n_layers": 1, "n_heads": 2, "dk": 8, "dv": 8}
CONFIGURED = {
    "sweep": {"space": SPACE},
    "suggestion": {"configuration": {"model": MODEL, "task": TASK, "training": {"epochs": 3}}},
}

_AUDIT = """
import sys
found = []
sys.addaudithook(lambda event, arguments: found.append(arguments) if event == "pickle.find_class" else None)
{body}
print("unpickled:", len(found), found[:5])
"""
_COMMAND = """
from orchestrator.command_line.app import run
status = run({arguments!r})
assert status == 0, status
"""
_WORKER = """
import dataclasses, sys, torch
from pathlib import Path
sys.path.insert(0, {helpers!r})
from small_runs import small_request
from trainables.training.checkpoint import read_checkpoint
from trainables.training.worker import RunWorker

def run_to(steps, request):
    worker = RunWorker(torch.device("cpu"))
    worker.start(request)
    payloads = [worker.advance() for _ in range(steps)]
    worker.stop()
    return payloads

request = small_request(Path({folder!r}))
first = run_to(1, request)
state = read_checkpoint(request.folder / "checkpoint.pt", fingerprint=request.fingerprint(), seed=request.seed)
found.clear()
again = run_to(2, request)
assert first[-1]["progress"] == 1 and again[-1]["progress"] > 1, (first, again)
"""

_REPRODUCE = """
import sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
from in_process_sweep import FIRST, record_sweep
from orchestrator.command_line.app import run
folder = record_sweep(Path({folder!r}))
found.clear()
status = run(["reproduce", f"{{folder.path}}/trials/{{FIRST}}"])
assert status == 0, status
"""
_RESUME = """
import contextlib
{imports}
from orchestrator.launch import LaunchOptions, SweepObserver, resume, resumption
from orchestrator.sweep.folder import SweepFolder
from pathlib import Path

class Loaded(Exception):
    pass

@contextlib.contextmanager
def no_ray(address):
    raise Loaded
    yield

resumption.ray_cluster = no_ray
found.clear()
folder = SweepFolder(Path({folder!r}))
try:
    resume(folder, None, LaunchOptions(folder.path.parent, folder.name), SweepObserver())
except Loaded:
    pass
else:
    raise AssertionError("it did not come as far as Ray")
"""


def sweep_folder(folder: Path) -> Path:
    """A small finished sweep, as it lies on the disk."""
    folder.mkdir()
    (folder / "space.yaml").write_text(SPACE)
    ended = [event | CONFIGURED.get(event["kind"], {}) for event in EVENTS if event["kind"] not in ("warm_start", "edit")]
    record(folder / "record.jsonl", ended)
    return folder


def command(*arguments: str) -> Callable[[Path], str]:
    def program(folder: Path) -> str:
        (folder / "space.yaml").write_text(SPACE)
        places = {
            "SPACE": str(folder / "space.yaml"),
            "SWEEP": str(sweep_folder(folder / "sweep")),
            "OUTPUT": str(folder / "report"),
        }
        return _COMMAND.format(arguments=[places.get(argument, argument) for argument in arguments])

    return program


def worker(folder: Path) -> str:
    return _WORKER.format(folder=str(folder), helpers=str(REPOSITORY / "tests" / "training"))


def reproduction(folder: Path) -> str:
    return _REPRODUCE.format(folder=str(folder), helpers=str(REPOSITORY / "tests" / "reproduce"))


def resumption(folder: Path) -> str:
    return _RESUME.format(folder=str(sweep_folder(folder / "sweep")), imports="")


CASES: dict[str, Callable[[Path], str]] = {
    "check": command("check", "SPACE"),
    "plan": command("plan", "SPACE"),
    "report": command("report", "SWEEP", "--output", "OUTPUT"),
    "sync": command("sync", "SWEEP", "--all"),
    "reproduce": reproduction,
    "what resume reads before Ray starts": resumption,
    "a worker that continues from a checkpoint": worker,
}


def audited(program: str) -> str:
    completed = subprocess.run(
        [sys.executable, "-c", _AUDIT.format(body=program)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.splitlines()[-1]


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_unpickled(case: str, tmp_path: Path) -> None:
    assert audited(CASES[case](tmp_path)) == "unpickled: 0 []"


def test_the_audit_sees_what_is_unpickled() -> None:
    assert audited("import pathlib, pickle; pickle.loads(pickle.dumps(pathlib.Path()))").startswith("unpickled: 1 ")


# The sources.

FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
    *("Tuner.restore", "tune.Tuner.restore", "numpy.fromfile", "subprocess.getoutput", "subprocess.getstatusoutput"),
}
FORBIDDEN_NAMES = {"ResultGrid", "UnsafeLoader", "FullLoader"}


def sources() -> list[Path]:
    return sorted(path for package in ("orchestrator", "trainables") for path in (REPOSITORY / package).rglob("*.py"))


def offences(tree: ast.AST) -> Iterator[str]:
    """What could run or unpickle what a file holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {name.name}" for name in node.names if name.name.split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            yield f"from {node.module} import"
        elif isinstance(node, (ast.Name, ast.Attribute)) and ast.unparse(node).split(".")[-1] in FORBIDDEN_NAMES:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield from _offences_of_call(node)


def _offences_of_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in FORBIDDEN_CALLS:
        yield name
    if name == "torch.load" and keywords.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False":
        yield "np.load with allow_pickle"
    if keywords.get("shell", "False") != "False":
        yield "shell=True"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_source_unpickles_or_runs_what_it_reads(path: Path) -> None:
    assert list(offences(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "text",
    [
        *("import pickle", "from pickle import loads", "import os\nos.system('x')", "eval('1')", "torch.load(p)", "yaml.load(t)"),
        *("torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "subprocess.run('x', shell=True)"),
        *("Tuner.restore('x')", "tune.ResultGrid", "yaml.load(t, Loader=yaml.FullLoader)"),
    ],
)
def test_the_search_of_the_sources_finds_what_it_forbids(text: str) -> None:
    assert list(offences(ast.parse(text)))
