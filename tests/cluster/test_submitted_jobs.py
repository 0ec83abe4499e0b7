"""Jobs sent to a head whose dashboard listens on loopback."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hosts import Host, Hosts
from quick_sweep import NAME, RUNS, SPACE, outcomes, project
from ray_hosts import DASHBOARD_PORT, RayHosts

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.usefixtures("namespaces")]

ADDRESS = f"http://127.0.0.1:{DASHBOARD_PORT}"
WRONG = {**SPACE, "name": "wrong", "objectiv": {"metric": "val/loss"}}


@dataclass
class Head:
    """A head, on which the user sits, with the project."""

    host: Host
    project: Path
    storage: Path
    cluster: RayHosts

    def run(self, *arguments: str | Path, check: bool = True, **env: str) -> CompletedProcess[str]:
        return self.host.run(arguments, env={"RAY_AUTH_MODE": "token", **env}, folder=self.project, timeout=300, check=check)

    def sweep(self, name: str, space: str = NAME) -> list[str]:
        """The command that runs a sweep under a name."""
        return ["run", f"search_spaces/{space}.yaml", "--name", name, "--storage", str(self.storage), "--yes"]


@pytest.fixture(scope="module")
def head(namespaces: None) -> Iterator[Head]:
    with Hosts(["head"]) as hosts, RayHosts(hosts[0]) as cluster:
        (hosts.shared / "project").mkdir()
        folder = project(hosts.shared / "project", {"wrong": WRONG})
        cluster.start_head(dashboard=True)
        yield Head(hosts[0], folder, hosts.shared / "storage", cluster)


def test_ray_job_submit_runs_a_sweep_and_its_exit_status_tells_success_and_failure(head: Head) -> None:
    submit = ["ray", "job", "submit", "--address", ADDRESS, "--working-dir", ".", "--", "python", "-m", "orchestrator"]
    done = head.run(*submit, *head.sweep("plain"))
    assert outcomes(head.storage, "plain") == ["completed"] * RUNS, done.stdout
    failed = head.run(*submit, *head.sweep("wrong", space="wrong"), check=False)
    assert failed.returncode == 1 and "objectiv" in failed.stdout


def test_memsweep_submit_shows_the_log_and_brings_the_real_status_back(head: Head) -> None:
    sweep = [*head.sweep("by-memsweep"), "--set", "model.n_heads={choice: [1, 2]}"]
    submit = ["memsweep", "submit", "--address", ADDRESS, "--", *sweep]
    done = head.run(*submit)
    assert outcomes(head.storage, "by-memsweep") == ["completed"] * RUNS, done.stdout
    assert "| gpt" in done.stdout and "go to the cluster" in done.stderr
    again = head.run(*submit, check=False)
    assert again.returncode == 2 and "memsweep resume" in again.stdout


@pytest.mark.parametrize(
    ("token", "told"),
    [(secrets.token_hex(32), "refuses the token"), ("", "is joined with a token, and none was found")],
    ids=["wrong", "none"],
)
def test_a_job_with_a_wrong_token_or_none_is_refused_within_seconds(head: Head, token: str, told: str) -> None:
    home = head.project / "empty"
    home.mkdir(exist_ok=True)
    begun = time.monotonic()
    env = {"RAY_AUTH_TOKEN": token, "HOME": str(home)}
    refused = head.run("memsweep", "submit", "--address", ADDRESS, "--", *head.sweep("stranger"), check=False, **env)
    took = time.monotonic() - begun
    assert refused.returncode == 2 and f"the cluster at {ADDRESS} {told}" in refused.stderr, refused.stderr
    print(f"refused after {took:.1f} s")


def test_nothing_answers_from_another_address_than_loopback(head: Head) -> None:
    elsewhere = f"http://{head.host.ip}:{DASHBOARD_PORT}"
    refused = head.run("memsweep", "submit", "--address", elsewhere, "--", *head.sweep("stranger"), check=False)
    assert refused.returncode == 2 and f"nothing answers at {elsewhere}" in refused.stderr
