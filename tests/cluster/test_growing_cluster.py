"""Concurrency on clusters that grow and shrink: by an autoscaler that starts from nothing, and by nodes that join and leave."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_sweep import WORKER, ClusterSweep, space_of, sweep_on
from hosts import Host, Hosts
from ray_hosts import MIB, PORT, RayHosts
from waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("namespaces")]

HEAD = "f" * 51 + "00000"
"""What Ray's provider of pretended nodes calls its head. Such nodes are raylets beside the head: they need no machine each."""
WIDTH, RUNS_ON_A_GPU = 4, 2
LONG = 400
"""Epochs of runs that are still under way when the test has seen enough."""


def autoscaling(gpu_nodes: int) -> dict[str, Any]:
    """The configuration of an autoscaler whose nodes have 2 CPUs and a GPU each, and none at the beginning."""
    node = {"CPU": 2, "GPU": 1, "object_store_memory": 100 * MIB}
    lists = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands", "rsync_exclude")
    lists += ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_filter")
    return {
        "cluster_name": "pretended",
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "head_node_id": HEAD,
        },
        "max_workers": gpu_nodes,
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "gpu": {"resources": node, "node_config": {}, "min_workers": 0, "max_workers": gpu_nodes},
        },
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "auth": {"ssh_user": "nobody"},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in lists},
    }


def start_autoscaling(cluster: RayHosts, folder: Path, gpu_nodes: int) -> None:
    path = folder / "autoscaling.json"
    path.write_text(json.dumps(autoscaling(gpu_nodes)))
    cluster.admit(cluster.head)
    line = ["ray", "start", "--head", f"--port={PORT}", f"--node-ip-address={cluster.head.ip}", "--num-cpus=0", "--num-gpus=0"]
    line += [f"--autoscaling-config={path}", "--include-dashboard=false", f"--object-store-memory={100 * MIB}"]
    pretended = {"RAY_FAKE_CLUSTER": "1", "RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD}
    env = {"RAY_AUTH_MODE": "token", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1", **pretended}
    cluster.head.run(line, env=env)
    cluster.started.append(cluster.head)


def interrupt(sweep: ClusterSweep, host: Host) -> None:
    """Ctrl-C; the sweep stays resumable."""
    host.send(sweep.process, signal.SIGINT)
    assert sweep.process.wait(60) == 130, sweep.log


def alive(host: Host, cluster: RayHosts) -> int:
    program = "import ray; ray.init(address='auto', log_to_driver=False, logging_level=50);"
    program += "print(sum(node['Alive'] for node in ray.nodes()))"
    return int(host.run([sys.executable, "-c", program], env=cluster.environment).stdout.split()[-1])


def announced(head: Host, folder: Path, space: dict[str, Any]) -> str:
    """What ``plan`` says of a space."""
    path = folder / "planned.yaml"
    path.write_text(yaml.safe_dump(space))
    return head.run([sys.executable, "-m", "orchestrator", "plan", path]).stdout


def test_an_autoscaler_that_starts_from_nothing_reaches_the_width_that_plan_announced() -> None:
    nodes = WIDTH // RUNS_ON_A_GPU
    with Hosts(["head"]) as hosts, RayHosts(hosts[0]) as cluster:
        head = hosts[0]
        start_autoscaling(cluster, hosts.shared, gpu_nodes=nodes)
        assert alive(head, cluster) == 1, "it starts from nothing"
        # Runs of about 700 MiB, a CUDA context included, so that two of them and their margins fill a GPU.
        space = space_of(10, {"concurrency": WIDTH, "gpu": "auto", "gpu_memory_mib": 2000}, epochs=LONG)
        demand = f"{WIDTH} x {{CPU: 1, GPU: {1 / RUNS_ON_A_GPU:g}}}"
        assert f"at once: {WIDTH} on {nodes} GPUs (demand: {demand})" in announced(head, hosts.shared, space)
        with sweep_on(head, hosts.shared / "sweeps", space, cluster.environment) as sweep:
            sweep.wait_for(lambda: len(sweep.events("start")) == WIDTH, "the demand")
            sweep.wait_for(lambda: len(sweep.in_flight()) == WIDTH, "the width", 240)
            assert alive(head, cluster) == 1 + nodes
            assert len(sweep.events("suggestion")) == WIDTH, "no more than that was ever suggested"
            interrupt(sweep, head)
        wait_until(lambda: alive(head, cluster) == 1, 120, "the end of the nodes that nobody needs", every=2)


def test_concurrency_follows_a_node_that_joins_and_one_that_leaves() -> None:
    with Hosts(["head", "guest"]) as hosts, RayHosts(hosts[0]) as cluster:
        head, guest = hosts
        cluster.start_head(cpus=1)
        space = space_of(10, {"concurrency": "auto"}, epochs=LONG)
        with sweep_on(head, hosts.shared / "sweeps", space, cluster.environment) as sweep:
            sweep.wait_for(lambda: len(sweep.in_flight()) == 1, "the first run")
            assert len(sweep.events("start")) == 1
            cluster.start_worker(guest, cpus=2)
            sweep.wait_for(lambda: len(sweep.in_flight()) == 3, "two more")
            assert len(sweep.events("suggestion")) == 3
            guest.run(["ray", "stop"])
            sweep.wait_for(lambda: len(guest.pids(WORKER)) == 0, "the end of the guest")
            results = len(sweep.events("result"))
            sweep.wait_for(lambda: len(sweep.events("result")) >= results + 3, "some results")
            assert len(sweep.events("suggestion")) == 3, "those that were lost are to go on first"
            assert not sweep.events("outcome"), "and nothing was counted as failed"
            interrupt(sweep, head)


def test_four_at_once_on_two_cpus_are_four_and_none_waits_for_ever() -> None:
    with Hosts(["head"]) as hosts, RayHosts(hosts[0]) as cluster:
        cluster.start_head(cpus=2)
        with sweep_on(hosts[0], hosts.shared / "sweeps", space_of(8, {"concurrency": 4}), cluster.environment) as sweep:
            data = sweep.wait_for_end()
            assert {run.outcome for run in data.state.runs.values()} == {"completed"} and len(data.state.runs) == 8
            most, now = 0, 0
            for event in sweep.events():
                now += {"start": 1, "outcome": -1}.get(event["kind"], 0)
                most = max(most, now)
            assert most == 4
