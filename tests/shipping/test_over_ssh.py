"""Over SSH, with a program in the place of ``ray`` that copies and runs on this machine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from folders import fill

from orchestrator.shipping import ShippingError, over_ssh, run_over_ssh

FAKE_RAY = """
import os, pathlib, shutil, subprocess, sys
command, cluster, *rest = sys.argv[1:]
assert os.environ["RAY_AUTH_MODE"] == "token"
if "down" in cluster:
    sys.exit("Traceback (most recent call last)\\n  File x\\nRuntimeError: Head node of cluster (memsweep) not found!")
home = pathlib.Path(os.environ["HOME"])
if command == "rsync-up":
    shutil.copytree(rest[0], home / rest[1].removeprefix("~/"), dirs_exist_ok=True)
else:
    ended = subprocess.run(["bash", "-c", rest[0] if "cut" not in cluster else "echo begun; exit 1"], cwd="/")
    sys.exit(1 if ended.returncode else 0)
"""
FAKE_MEMSWEEP = """
import json, os, sys
print("é begins")
print(json.dumps([sys.argv[1:], os.environ["RAY_AUTH_MODE"], sys.stdin.isatty(), sys.stdin.read()]))
sys.exit(int(sys.argv[-3]) if "--status" in sys.argv else 0)
"""


@pytest.fixture
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake = fill(tmp_path, {"ray.py": FAKE_RAY})
    monkeypatch.setattr(over_ssh, "RAY", (sys.executable, str(fake / "ray.py")))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    received = Path(over_ssh.__file__).with_name("received.py").read_text()
    files = {"orchestrator/__main__.py": FAKE_MEMSWEEP, "orchestrator/shipping/received.py": received, ".memsweep-shipped": "a\n"}
    return fill(tmp_path / "staged", files)


def test_arguments_arrive_whole_and_the_real_exit_status_comes_back(staged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "x.yaml", "--name", "a 'b' $HOME ; exit 9", "--status", "5"]
    assert run_over_ssh(Path("c.yaml"), staged, arguments, has_terminal=False) == 5
    shown = capfd.readouterr().out.splitlines()
    assert shown[0] == "é begins" and json.loads(shown[1]) == [[*arguments, "--address", "auto"], "token", False, ""]
    assert "ended with" not in "".join(shown)


def test_success_is_0(staged: Path) -> None:
    assert run_over_ssh(Path("c.yaml"), staged, ["list"], has_terminal=False) == 0


def test_a_cluster_that_is_down_is_told_without_a_traceback(staged: Path) -> None:
    with pytest.raises(
        ShippingError, match=r"\(is the cluster up\? `ray up down.yaml`\): RuntimeError: Head node of cluster"
    ) as error:
        run_over_ssh(Path("down.yaml"), staged, ["list"], has_terminal=False)
    assert "Traceback" not in str(error.value)


def test_a_connection_that_ends_first_is_no_success(staged: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_over_ssh(Path("cut.yaml"), staged, ["run", "x.yaml"], has_terminal=False) == 1
    out, err = capfd.readouterr()
    assert out == "begun\n" and "it may still run on the head" in err
