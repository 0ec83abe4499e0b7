"""Ray on hosts made of namespaces: one head, any number of workers, a token for every connection."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hosts import Host

MIB = 2**20
PORT, DASHBOARD_PORT = 6379, 8265

QUICK_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""In the environment of the head: a node that is cut off is given up after some 5 s (by default after a minute)."""

TOLD_ABOUT_NODES = """
import json, sys, time, ray
ray.init(address="auto", log_to_driver=False, logging_level=50)
deadline = time.monotonic() + float(sys.argv[2])
nodes = []
while len(nodes) != int(sys.argv[1]) and time.monotonic() < deadline:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    time.sleep(0.1)
print(json.dumps({node["NodeManagerAddress"]: node["Resources"] for node in nodes}))
"""


@dataclass
class RayHosts:
    """A Ray cluster; ``with RayHosts(hosts[0]) as cluster: cluster.start_head(…); cluster.start_worker(hosts[1], …)``.

    Attributes:
        head: where the head runs.
        health_checks: environment of the head; ``{}`` leaves Ray's own slow ones.
        token: what every connection shows; written to ``~/.ray/auth_token`` of each host on which a node is started, and to be
            put there by :meth:`admit` on others that shall be let in.
    """

    head: Host
    health_checks: Mapping[str, str] = field(default_factory=lambda: dict(QUICK_HEALTH_CHECKS))
    token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    started: list[Host] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where drivers and workers find the cluster."""
        return f"{self.head.ip}:{PORT}"

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to be let in: ``host.run([…], env=cluster.environment)``. The token is in the host's home."""
        return {"RAY_AUTH_MODE": "token", "RAY_ADDRESS": self.address}

    def start_head(self, *, dashboard: bool = False, **resources: Any) -> None:
        """Starts the head; ``resources`` as in :func:`resource_options`. A dashboard listens on the head's loopback only."""
        options = ["--head", f"--port={PORT}", f"--include-dashboard={str(dashboard).lower()}", "--dashboard-host=127.0.0.1"]
        self._start(self.head, options, self.health_checks, resources)

    def start_worker(self, host: Host, **resources: Any) -> None:
        """Starts a node that joins the head."""
        self._start(host, [f"--address={self.address}"], {}, resources)

    def _start(self, host: Host, options: Sequence[str], env: Mapping[str, str], resources: Mapping[str, Any]) -> None:
        self.admit(host)
        line = ["ray", "start", *options, f"--node-ip-address={host.ip}", *resource_options(**resources)]
        host.run(line, env={"RAY_AUTH_MODE": "token", **env})
        self.started.append(host)

    def admit(self, host: Host) -> None:
        """Puts the token into the home of a host."""
        host.run(["sh", "-c", "umask 077 && mkdir -p ~/.ray && cat > ~/.ray/auth_token"], stdin=None, input=self.token)

    def nodes(self, expected: int, seconds: float = 30.0) -> dict[str, dict[str, float]]:
        """Waits until ``expected`` nodes are alive; the resources of each by its address.

        Raises:
            AssertionError: they were not in time.
        """
        line = [sys.executable, "-c", TOLD_ABOUT_NODES, str(expected), str(seconds)]
        found = json.loads(self.head.run(line, env=self.environment, timeout=seconds + 60).stdout.splitlines()[-1])
        assert len(found) == expected, f"{len(found)} nodes are alive, not {expected}: {sorted(found)}"
        return found

    def stop(self) -> None:
        """Ends Ray on all hosts on which it was started and which still run."""
        for host in reversed(self.started):
            if host.running:
                host.run(["ray", "stop", "--force"], check=False)
        self.started.clear()

    def __enter__(self) -> RayHosts:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def resource_options(
    cpus: float = 2, gpus: float = 0, memory_mib: int = 2048, object_store_mib: int = 100, extra: Sequence[str] = ()
) -> list[str]:
    """What a node offers, as options of ``ray start``. Without them each would count the whole machine's memory as its own."""
    options = [f"--num-cpus={cpus:g}", f"--num-gpus={gpus:g}", f"--memory={memory_mib * MIB}"]
    return [*options, f"--object-store-memory={object_store_mib * MIB}", *extra]
