"""Programs on a PATH of their own that write down what they were asked, in place of those that a script calls."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RECORDING = """#!{python}
import json, os, subprocess, sys
told = {{"program": os.path.basename(sys.argv[0]), "arguments": sys.argv[1:]}}
told |= {{"environment": dict(os.environ), "folder": os.getcwd()}}
with open({log!r}, "a") as log:
    log.write(json.dumps(told) + "\\n")
{then}
"""


class FakePrograms:
    """A folder of programs; :meth:`run` runs a script that finds no others but these and those of the system."""

    def __init__(self, folder: Path) -> None:
        self._bin, self._log = folder / "bin", folder / "asked.jsonl"
        self._bin.mkdir()
        self.home = folder / "home"
        self.home.mkdir()

    def add(self, name: str, then: str = "", where: Path | None = None) -> None:
        """Adds a program that records its call and then does ``then`` (Python)."""
        path = (where or self._bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORDING.format(python=sys.executable, log=str(self._log), then=then))
        path.chmod(0o755)

    def run(
        self, line: Sequence[str | Path], folder: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command line in ``folder`` with an environment of its own."""
        return subprocess.run(
            list(map(str, line)), cwd=folder, env=self._environment(env), capture_output=True, text=True, timeout=60
        )

    def start(self, line: Sequence[str | Path], folder: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """The same, without waiting."""
        return subprocess.Popen(list(map(str, line)), cwd=folder, env=self._environment(env))

    def asked(self, program: str) -> list[dict]:
        """The calls of one program, in order: ``arguments``, ``environment``, ``folder``."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [call for call in map(json.loads, lines) if call["program"] == program]

    def _environment(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        return {"PATH": f"{self._bin}:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8", **(extra or {})}
