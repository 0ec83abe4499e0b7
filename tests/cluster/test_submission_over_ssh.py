"""Three hosts that ``ray up`` makes a cluster over SSH, used from a fourth, with ``clusters/local.yaml`` as it is shipped."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from hosts import Host, Hosts
from quick_sweep import NAME, RUNS, outcomes, project
from ray_hosts import TOLD_ABOUT_NODES
from ssh_hosts import SshKeys, why_no_ssh

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.usefixtures("namespaces")]

CLUSTER = "clusters/ours.yaml"
VERSION_1 = {"RAY_AUTH_MODE": "token", "RAY_UP_enable_autoscaler_v2": "0", "AUTOSCALER_NODE_START_WAIT_S": "60"}


@dataclass
class Desk:
    """The machine of the user: outside of the cluster, with the project, the SSH key and the token."""

    host: Host
    project: Path
    storage: Path
    head: Host

    def run(self, *arguments: str | Path, check: bool = True, **env: str) -> CompletedProcess[str]:
        return self.host.run(arguments, env={**VERSION_1, **env}, folder=self.project, timeout=300, check=check)


@pytest.fixture(scope="module")
def desk(namespaces: None) -> Iterator[Desk]:
    """The cluster is up; after the tests it is taken down."""
    if reason := why_no_ssh():
        pytest.skip(reason)
    with Hosts(["desk", "head", "first", "second"]) as hosts:
        user, *nodes = hosts
        keys = SshKeys(hosts.shared / "keys")
        for node in nodes:
            keys.serve(node)
            install_ours(node)
        (hosts.shared / "project").mkdir()
        desk = Desk(user, project(hosts.shared / "project"), hosts.shared / "storage", nodes[0])
        fill_in(desk.project, nodes, keys.user_key)
        user.run(["sh", "-c", f"umask 077 && mkdir ~/.memsweep && echo {secrets.token_hex(32)} > ~/.memsweep/auth_token"])
        desk.run("ray", "up", "--yes", CLUSTER)
        found = nodes[0].run([sys.executable, "-c", TOLD_ABOUT_NODES, "3", "90"], env={"RAY_AUTH_MODE": "token"}).stdout
        assert all(node.ip in found for node in nodes), found
        yield desk


def fill_in(folder: Path, nodes: list[Host], key: Path) -> None:
    """What the file asks a user for, and nothing else."""
    document: dict[str, Any] = yaml.safe_load((folder / "clusters/local.yaml").read_text())
    document["provider"] |= {"head_ip": nodes[0].ip, "worker_ips": [node.ip for node in nodes[1:]]}
    document["auth"] |= {"ssh_user": "root", "ssh_private_key": str(key)}
    assert "FILL_IN" not in yaml.safe_dump(document)
    (folder / CLUSTER).write_text(yaml.safe_dump(document, sort_keys=False))


def install_ours(node: Host) -> None:
    """In the place of what ``setup_node.sh`` would install from the network: this environment, marked as installed."""
    files = [Path(__file__).parents[2] / name for name in ("pyproject.toml", "constraints.txt")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    environment = Path(sys.executable).parents[1]
    node.run(["sh", "-c", f"ln -s {environment} ~/memsweep-env && echo '{digest}  -' > ~/.memsweep-installed"])


def test_a_sweep_is_submitted_from_outside_and_its_table_is_fetched(desk: Desk) -> None:
    arguments = ["run", f"search_spaces/{NAME}.yaml", "--storage", str(desk.storage), "--yes"]
    submitted = desk.run("ray", "submit", CLUSTER, "orchestrator/submit.py", "--", *arguments)
    assert outcomes(desk.storage, NAME) == ["completed"] * RUNS, submitted.stdout
    shutil.rmtree(desk.project / "fetched", ignore_errors=True)
    desk.run("ray", "rsync-down", CLUSTER, f"{desk.storage}/{NAME}/report/", f"{desk.project}/fetched/")
    table = (desk.project / "fetched/table.md").read_text()
    assert "gpt" in table and "delta_net" in table


def test_ray_submit_refuses_what_it_would_take_apart(desk: Desk) -> None:
    refused = desk.run(
        "ray", "submit", CLUSTER, "orchestrator/submit.py", "--", "run", "x.yaml", "--name", "two words", check=False
    )
    assert refused.returncode == 1, "ray submit makes 1 of every status"
    assert "'words' seems to be a part of a quoted one" in refused.stdout and "memsweep submit --cluster" in refused.stdout


def test_memsweep_submit_passes_quoted_arguments_whole_and_the_exit_status_back(desk: Desk) -> None:
    run = ["run", f"search_spaces/{NAME}.yaml", "--name", "quoted", "--storage", str(desk.storage), "--yes"]
    run += ["--set", "model.n_heads={choice: [1, 2]}"]
    submit = ["memsweep", "submit", "--cluster", CLUSTER, "--yes", "--", *run]
    done = desk.run(*submit)
    assert outcomes(desk.storage, "quoted") == ["completed"] * RUNS, done.stdout
    lines = done.stderr.splitlines()
    assert any(line.endswith("  orchestrator/submit.py") for line in lines) and any("go to the cluster" in line for line in lines)
    assert desk.run(*submit, check=False).returncode == 2, "the sweep is there already"


def test_a_wrong_token_is_refused_within_seconds_and_named(desk: Desk) -> None:
    begun = time.monotonic()
    run = ["memsweep", "run", f"search_spaces/{NAME}.yaml", "--name", "stranger", "--storage", desk.storage, "--yes"]
    refused = desk.run(*run, "--address", f"{desk.head.ip}:6379", check=False, RAY_AUTH_TOKEN=secrets.token_hex(32))
    took = time.monotonic() - begun
    assert refused.returncode == 2 and "refuses the token: the one in RAY_AUTH_TOKEN is another" in refused.stderr, refused.stderr
    print(f"a wrong token was refused after {took:.1f} s, the start of memsweep included")
    assert outcomes(desk.storage, "stranger") == []


def test_ray_down_ends_the_head(desk: Desk) -> None:
    desk.run("ray", "down", "--yes", CLUSTER)
    assert not desk.head.pids("gcs_server")
