"""Machines that vanish, are cut off, or are taken away after a notice: they cost their unsaved steps and nothing else."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest
from cluster_sweep import WORKER, ClusterSweep, assert_whole, space_of, sweep_on
from hosts import Host, Hosts
from ray_hosts import RayHosts

from trainables.training.attempts import ATTEMPTS

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("namespaces")]

TRIALS = 24
EPOCHS = 36
"""The sweep lasts about a minute on two idle cores, twice as long as what happens to it."""
LONG = 120
"""Epochs of a run that shall be under way when the command that drains a node has come through, which takes seconds."""


def begun_again(sweep: ClusterSweep) -> set[str]:
    """The runs that were handed out more than once."""
    started = [event["run"] for event in sweep.events("start")]
    return {run for run in started if started.count(run) > 1}


def wait_for_work_on(sweep: ClusterSweep, host: Host) -> None:
    """Waits until a process trains on the host, and for some more results."""
    sweep.wait_for(lambda: host.pids(WORKER), f"work on {host.name}")
    wait_for_results(sweep)


def wait_for_results(sweep: ClusterSweep, more: int = 4) -> None:
    before = len(sweep.events("result"))
    sweep.wait_for(lambda: len(sweep.events("result")) >= before + more, "some results")


def test_a_killed_raylet_and_a_cut_link_in_the_middle_of_a_sweep_cost_no_trial() -> None:
    with Hosts(["head", "killed", "cut"]) as hosts, RayHosts(hosts[0]) as cluster:
        head, killed, cut = hosts
        cluster.start_head(cpus=2)
        cluster.start_worker(killed, cpus=1)
        cluster.start_worker(cut, cpus=1)
        space = space_of(TRIALS, {"concurrency": "auto"}, epochs=EPOCHS)
        with sweep_on(head, hosts.shared / "sweeps", space, cluster.environment) as sweep:
            wait_for_work_on(sweep, killed)
            assert head.pids("BeatRegister") and not killed.pids("BeatRegister") + cut.pids("BeatRegister")
            for raylet in killed.pids("raylet/raylet"):
                os.kill(raylet, signal.SIGKILL)
            at = time.monotonic()
            first = sweep.wait_for(lambda: begun_again(sweep), "the run of the killed raylet, elsewhere")
            print(f"\nSIGKILL of a raylet: noticed after {time.monotonic() - at:.1f} s, {len(first)} run(s) went on")

            cluster.start_worker(killed, cpus=1)

            wait_for_work_on(sweep, cut)
            cut.cut()
            at = time.monotonic()
            second = sweep.wait_for(lambda: begun_again(sweep) - first, "the run of the cut-off host, elsewhere")
            print(f"cut link: noticed after {time.monotonic() - at:.1f} s, {len(second)} run(s) went on")
            assert cut.pids(WORKER), "the old process is alive, and can write to the shared storage"
            wait_for_results(sweep)
            cut.heal()
            assert sweep.process.poll() is None, "healed after the end"

            data = sweep.wait_for_end()
            assert_whole(sweep, data, TRIALS, EPOCHS)
            assert not any(sweep.folder.trials.glob(f"*/{ATTEMPTS}"))
            lost = {run.id: run.attempts for run in data.state.runs.values() if run.attempts > 1}
            assert lost.keys() >= first | second
            print(f"attempts of the runs that were handed out again: {lost}")


def test_a_node_that_is_drained_hands_its_runs_over_without_losing_a_step() -> None:
    with Hosts(["head", "spot"]) as hosts, RayHosts(hosts[0]) as cluster:
        head, spot = hosts
        cluster.start_head(cpus=1)
        cluster.start_worker(spot, cpus=1)
        space = space_of(4, {"concurrency": "auto", "stall_timeout": 8}, epochs=LONG) | {"checkpoints": {"interval": 3600}}
        with sweep_on(head, hosts.shared / "sweeps", space, cluster.environment) as sweep:
            wait_for_work_on(sweep, spot)
            at = time.monotonic()
            drain(cluster, spot)
            moved = sweep.wait_for(lambda: begun_again(sweep), "the run of the drained node, elsewhere")
            print(f"\ndrained node: its run was handed out again after {time.monotonic() - at:.1f} s")
            data = sweep.wait_for_end()
            assert_whole(sweep, data, 4, LONG)
            results = [(event["run"], event["progress"]) for event in sweep.events("result") if event["progress"]]
            assert len(results) == len(set(results)) == 4 * LONG
            (run,) = moved
            last_told = max((step for step in range(1, LONG + 1) if told_before_the_second_start(sweep, run, step)), default=0)
            begins = [0, last_told] if last_told else [0]  # of a run that met the notice before its first step nothing was told
            assert data.state.runs[run].begins == begins, "it goes on from the last step that it told"


def drain(cluster: RayHosts, host: Host) -> None:
    """As a cloud does before it takes a machine back: with a deadline."""
    program = "import ray, sys; ray.init(address='auto', log_to_driver=False, logging_level=50);"
    program += "print(next(node['NodeID'] for node in ray.nodes() if node['NodeManagerAddress'] == sys.argv[1]))"
    node = cluster.head.run([sys.executable, "-c", program, host.ip], env=cluster.environment).stdout.split()[-1]
    reason = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=taken back", "--deadline-remaining-seconds=30"]
    cluster.head.run(["ray", "drain-node", f"--address={cluster.address}", f"--node-id={node}", *reason], env=cluster.environment)


def told_before_the_second_start(sweep: ClusterSweep, run: str, step: int) -> bool:
    events = [event for event in sweep.events() if event.get("run") == run]
    second = [index for index, event in enumerate(events) if event["kind"] == "start"][1]
    return any(event["kind"] == "result" and event["progress"] == step for event in events[:second])
