"""A small sweep whose storage is behind a URI, run by drivers with a cache each, as on machines of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from orchestrator.record import read_journal

NAME = "small"
SPACE: dict[str, Any] = {
    "name": NAME,
    "task": {
        "name": "mqar",
        "vocab_size": 32,
        "input_seq_len": 16,
        "num_kv_pairs": 2,
        "train_examples": 24_576,
        "val_examples": 32,
    },
    "model": {"dim": 8, "n_layers": 1, "n_heads": 1},
    "architectures": {"gpt": {"dk": {"int": [2, 12], "step": 2}, "dv": 8}},
    "training": {"lr": {"float": [1e-3, 1e-2], "log": True}, "batch_size": 32, "epochs": 8},
    "objective": {"metric": "val/loss"},
    "search": {"sampler": "random", "trials": 3},
    "resources": {"concurrency": 1},
    "checkpoints": {"interval": 0.001},
}
LONGEST_S = 240.0


@dataclass
class Machine:
    """A machine of its own, as far as files go."""

    home: Path
    uri: str

    def environment(self) -> dict[str, str]:
        settings = {
            "HOME": str(self.home),
            "MEMSWEEP_CACHE": str(self.home / "cache"),
            "RAY_AUTH_MODE": "token",
            "OMP_NUM_THREADS": "1",
        }
        return {**os.environ, **settings}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        self.home.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "orchestrator", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.home,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=LONGEST_S)
        return process.returncode, output

    @property
    def sweep(self) -> Path:
        """The working copy."""
        (folder,) = (path for path in (self.home / "cache").glob(f"*/{NAME}") if path.is_dir())
        return folder

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in read_journal(self.sweep / "record.jsonl") if event["kind"] == kind]


def write_space(folder: Path, **sections: Any) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(SPACE | sections, sort_keys=False))
    return path


def wait_until(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not condition():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill(process: subprocess.Popen[str]) -> None:
    """With everything that it has started, as when a machine is lost."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
