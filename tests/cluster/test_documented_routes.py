"""The routes that ``docs/clusters.md`` calls run here are typed as they stand there, on hosts made of namespaces."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hosts import REPOSITORY, Host, Hosts, wait_for_port
from quick_sweep import RUNS, SPACE, outcomes, project
from ssh_hosts import SshKeys, why_no_ssh
from test_submission_over_ssh import install_ours

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800), pytest.mark.usefixtures("namespaces")]

PAGE = REPOSITORY / "docs/clusters.md"
DASHBOARD_PORT = 8265


class Desk:
    """The machine of a user who reads the page: the project, an environment, SSH, and nothing in the home folder."""

    def __init__(self, hosts: Hosts, key: Path) -> None:
        self.host: Host = hosts[0]
        self.shared = hosts.shared
        (self.shared / "project").mkdir()
        self.project = project(self.shared / "project", {"quickstart": {**SPACE, "name": "quickstart"}})
        (self.project / ".venv").symlink_to(Path(sys.executable).parents[1])
        self._fill_in(hosts, key)

    def _fill_in(self, hosts: Hosts, key: Path) -> None:
        path = self.project / "clusters/local.yaml"
        document = yaml.safe_load(path.read_text())
        _, head, *workers = hosts
        document["provider"] |= {"head_ip": head.ip, "worker_ips": [worker.ip for worker in workers]}
        document["auth"] |= {"ssh_user": "root", "ssh_private_key": str(key)}
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def block(self, heading: str, number: int = 0) -> str:
        """A fenced block of a section, with the folder that stands for a shared one."""
        section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        return re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[number].replace("/shared/", f"{self.shared}/")

    def typed(self, *lines: str) -> str:
        """Types lines into one shell, as far as the first that fails; what they write."""
        return self.host.run(["bash", "-ec", "".join(lines)], folder=self.project, timeout=600, stderr=subprocess.STDOUT,
                             stdout=subprocess.PIPE, capture_output=False).stdout  # fmt: skip


@pytest.fixture(scope="module")
def desk(namespaces: None) -> Iterator[Desk]:
    if reason := why_no_ssh():
        pytest.skip(reason)
    if shutil.which("openssl") is None:
        pytest.skip("not installed: openssl")
    with Hosts(["desk", "head", "worker"]) as hosts:
        keys = SshKeys(hosts.shared / "keys")
        for node in list(hosts)[1:]:
            keys.serve(node)
            install_ours(node)
        yield Desk(hosts, keys.user_key)


def test_machines_over_ssh_a_job_and_another_head(desk: Desk) -> None:
    token = next(line for line in PAGE.read_text().splitlines(keepends=True) if "openssl rand" in line)
    *until_the_end, down = desk.block("Machines over SSH").splitlines(keepends=True)
    assert down.startswith("ray down")
    told = desk.typed(token, *until_the_end)
    sweeps = desk.shared / "sweeps"
    assert outcomes(sweeps, "quickstart") == ["completed"] * RUNS and outcomes(sweeps, "two-heads") == ["completed"] * RUNS, told
    assert "| gpt" in told
    # The head's autoscaler needs some seconds after `ray up` until it has a status.
    assert "Active:" in told or "No cluster status" in told
    assert (desk.project / "report/table.md").exists()
    _as_a_job(desk)
    desk.typed(until_the_end[0], down)
    assert "quickstart" in desk.typed(desk.block("Resuming on another head"))
    desk.typed(until_the_end[0], down)


def _as_a_job(desk: Desk) -> None:
    tunnel, job = desk.block("As a job", 0), desk.block("As a job", 1)
    # The tunnel lasts as long as a shell on the head, and that as long as the terminal: a pipe that stays open.
    terminal = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with desk.host.popen(["bash", "-ec", tunnel], folder=desk.project, **terminal) as open_tunnel:
        try:
            wait_for_port(desk.host, DASHBOARD_PORT, 90)
            told = desk.typed(job)
        finally:
            open_tunnel.kill()
    assert outcomes(desk.shared / "sweeps", "as-a-job") == ["completed"] * RUNS and "SUCCEEDED" in told, told
