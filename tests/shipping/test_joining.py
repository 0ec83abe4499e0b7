"""What is said before a cluster is joined, with a program in the place of ``ray``."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from orchestrator.ray_executor import joining
from orchestrator.ray_executor.joining import NoCluster, TokenRefused, driver_code, refuse_wrong_token

_REFUSE_SILENCE = joining._refuse_silence

FAKE_RAY = """
import os, sys, time
known = {"RAY_AUTH_TOKEN": "right", "RAY_AUTH_MODE": "token"}
if sys.argv[1:] == ["status", "--address", "auto"]:
    sys.exit("ConnectionError: Could not find any running Ray instance. Please specify the one to connect to")
if sys.argv[3] == "silent:1":
    time.sleep(60)
if any(os.environ.get(name) != value for name, value in known.items()):
    sys.exit("ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is missing or incorrect.")
"""


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ray.py").write_text(FAKE_RAY)
    monkeypatch.setattr(joining, "_refuse_silence", lambda address: None)
    monkeypatch.setattr(joining, "RAY", (sys.executable, str(tmp_path / "ray.py")))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_right_token_is_let_in_without_a_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    refuse_wrong_token("10.0.0.1:6379")


def test_a_wrong_token_is_named_by_its_place_and_not_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong-and-secret")
    with pytest.raises(
        TokenRefused, match=r"10\.0\.0\.1:6379 refuses the token: the one in RAY_AUTH_TOKEN is another; copy"
    ) as error:
        refuse_wrong_token("10.0.0.1:6379")
    assert "wrong-and-secret" not in str(error.value)


def test_a_token_in_the_home_is_found(fake: Path) -> None:
    (fake / ".ray").mkdir()
    (fake / ".ray/auth_token").write_text("another")
    with pytest.raises(TokenRefused, match=r"the one in ~/\.ray/auth_token is another"):
        refuse_wrong_token("10.0.0.1:6379")


@pytest.mark.parametrize("mode", [None, "token"])
def test_no_token_at_all_is_said(monkeypatch: pytest.MonkeyPatch, mode: str | None) -> None:
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(
        TokenRefused, match=r"none was found here: copy the cluster's token .* into ~/\.ray/auth_token here, or into RAY_"
    ):
        refuse_wrong_token("10.0.0.1:6379")


def test_a_mode_that_shows_no_token_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(TokenRefused, match="RAY_AUTH_MODE=disabled shows none"):
        refuse_wrong_token("10.0.0.1:6379")


def test_no_cluster_here_is_said() -> None:
    with pytest.raises(NoCluster, match="no Ray cluster runs here for --address auto"):
        refuse_wrong_token("auto")


def test_what_does_not_answer_and_what_is_no_such_address_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_ANSWER_S", 0.2)
    refuse_wrong_token("silent:1")
    refuse_wrong_token("ray://somewhere:10001")


def test_the_code_of_the_driver_goes_to_the_workers() -> None:
    packages = [Path(path) for path in driver_code()["py_modules"]]
    assert [package.name for package in packages] == ["orchestrator", "trainables"]
    assert all((package / "__init__.py").is_file() for package in packages)


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:ray"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(NoCluster, match="is no address of a Ray cluster: write auto, or HOST:PORT"):
        _REFUSE_SILENCE(address)


def test_a_port_on_which_nobody_listens_is_told_at_once_and_another_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        _REFUSE_SILENCE(address)
    with pytest.raises(NoCluster, match=f"nothing answers at --address {address}"):
        _REFUSE_SILENCE(address)
