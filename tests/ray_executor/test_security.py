"""The Ray that a sweep starts: a token for every connection, loopback alone, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ray_executor.security import OpenClusterRefused, closed_ray, require_token_mode

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1 alone, in an IPv6 socket, and ::1, as the kernel writes them."""
NAMES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing is configured, and the home is empty."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def test_a_token_is_there_while_the_cluster_lives_and_gone_afterwards(no_token: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = dict(os.environ)
    with closed_ray():
        token = os.environ["RAY_AUTH_TOKEN"]
        assert len(token) == 64
    assert dict(os.environ) == before and list(tmp_path.iterdir()) == []
    with closed_ray():
        assert os.environ["RAY_AUTH_TOKEN"] == token, "Ray keeps the first token that it has read in a process"


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"])
def test_a_configured_token_is_used(no_token: pytest.MonkeyPatch, name: str) -> None:
    no_token.setenv(name, "mine")
    with closed_ray():
        assert os.environ.get("RAY_AUTH_TOKEN") == ("mine" if name == "RAY_AUTH_TOKEN" else None)


def test_the_token_in_the_home_is_used(no_token: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("mine")
    with closed_ray():
        assert "RAY_AUTH_TOKEN" not in os.environ


def test_before_ray_is_imported_it_is_kept_on_this_machine(no_token: pytest.MonkeyPatch) -> None:
    no_token.delitem(sys.modules, "ray", raising=False)
    with closed_ray():
        assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]) == ("token", "0")


def test_an_open_cluster_is_refused(no_token: pytest.MonkeyPatch) -> None:
    with pytest.raises(OpenClusterRefused, match="without authentication"):
        require_token_mode()
    no_token.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(OpenClusterRefused, match="--address"), closed_ray():
        raise AssertionError("it went on")


@pytest.fixture
def cluster(no_token: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    program = Path(__file__).with_name("local_cluster.py")
    process = subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")
def test_a_local_cluster_listens_on_loopback_alone_and_leaves_nothing(
    cluster: tuple[subprocess.Popen[str], dict[str, Any]],
) -> None:
    process, told = cluster
    assert told["addresses"] and set(told["addresses"]) <= LOOPBACK
    assert told["gcs"].startswith("127.0.0.1:")
    after = json.loads(process.communicate(timeout=60)[0])
    assert set(after["environment"].values()) == {None} and after["home"] == []


CLIENT = """
import sys, ray
try:
    ray.init(address=sys.argv[1], logging_level=50, log_to_driver=False)
except Exception as refusal:
    sys.exit(f"refused: {type(refusal).__name__}")
print("joined")
"""


def join(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    values = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **environment}
    return subprocess.run([sys.executable, "-c", CLIENT, address], env=values, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_a_client_without_the_token_is_refused(cluster: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    """Ray tries for about 20 s before it gives up; the last client shows that the address is right."""
    process, told = cluster
    token = token_of(process.pid)
    assert "refused" in join(told["gcs"], RAY_AUTH_TOKEN="0" * 64).stderr
    assert "refused" in join(told["gcs"], RAY_AUTH_MODE="disabled").stderr
    assert "joined" in join(told["gcs"], RAY_AUTH_TOKEN=token).stdout


def token_of(pid: int) -> str:
    """From the environment of a child of the cluster's process, which a process of the same user may read."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    variables = Path(f"/proc/{children[0]}/environ").read_bytes().split(b"\0")
    (token,) = (variable for variable in variables if variable.startswith(b"RAY_AUTH_TOKEN="))
    return token.partition(b"=")[2].decode()
