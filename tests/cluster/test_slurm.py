"""``clusters/slurm.sbatch`` on a real Slurm."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Hosts
from slurm_hosts import SlurmHosts, why_no_slurm
from waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("namespaces"), pytest.mark.timeout(900)]

SPACE = """
name: tiny
task: {name: mqar, vocab_size: 32, input_seq_len: 16, num_kv_pairs: 2, train_examples: 64, val_examples: 32}
model: {dim: 8, n_layers: 1, n_heads: 1}
architectures: {gpt: {dk: 8, dv: {int: [8, 16], step: 4}}, delta_net: {dk: 8, dv: {int: [8, 16], step: 4}}}
training: {lr: 0.01, batch_size: 16, epochs: EPOCHS}
search: {trials: 2}
"""
INTERRUPTED = 130
LISTENS = """
import signal, socket, sys
server = socket.create_server(("", int(sys.argv[1])))
print("listening", flush=True)
signal.pause()
"""
HERE = ["--gpus-per-node=0", "--cpus-per-task=2", "--mem=4G"]
"""What the nodes of the test have, in place of what the file asks for."""


@pytest.fixture(scope="module")
def slurm() -> Iterator[SlurmHosts]:
    if reason := why_no_slurm():
        pytest.skip(reason)
    with Hosts(2) as hosts:
        yield SlurmHosts(hosts)


def _space(slurm: SlurmHosts, epochs: int) -> Path:
    path = slurm.hosts.shared / f"tiny_{epochs}.yaml"
    path.write_text(SPACE.replace("EPOCHS", str(epochs)))
    return path


def _storage(slurm: SlurmHosts) -> Path:
    return slurm.hosts.shared / "sweeps"


def _submitted(slurm: SlurmHosts, name: str, epochs: int, *options: str) -> int:
    env = {"MEMSWEEP_STORAGE": str(_storage(slurm))}
    return slurm.submit(*HERE, *options, "clusters/slurm.sbatch", name, str(_space(slurm, epochs)), env=env)


def _events(slurm: SlurmHosts, name: str, kind: str) -> int:
    """How many events of a kind the record of a sweep has."""
    record = _storage(slurm) / name / "record.jsonl"
    lines = record.read_text().splitlines() if record.exists() else []
    return sum(line.startswith(f'{{"kind":"{kind}"') for line in lines)


def test_a_batch_job_on_two_nodes_runs_a_sweep_and_its_result_is_there(slurm: SlurmHosts) -> None:
    job = _submitted(slurm, "tiny", 2)
    assert slurm.wait(job, 240) == ("COMPLETED", 0), slurm.output(job)
    rows = json.loads((_storage(slurm) / "tiny/report/report.json").read_text())["trials"]
    assert [row["outcome"] for row in rows] == ["completed"] * 4
    assert not list(_storage(slurm).glob(".*")), "no file of the job is left"
    assert "RAY_AUTH_TOKEN" not in slurm.output(job)


def test_before_its_time_limit_a_job_writes_checkpoints_and_the_same_line_goes_on(slurm: SlurmHosts) -> None:
    first = _submitted(slurm, "long", 100, "--nodes=1")
    wait_until(lambda: _events(slurm, "long", "result") > 3 or slurm.has_ended(first), 240, "the first results")
    assert _events(slurm, "long", "result") > 3, slurm.output(first)
    slurm.ask("scancel", "--batch", "--signal=TERM", str(first))
    assert slurm.wait(first, 120) == ("FAILED", INTERRUPTED), slurm.output(first)
    before = _events(slurm, "long", "result")
    assert _events(slurm, "long", "trial_end") < 4
    second = _submitted(slurm, "long", 100, "--nodes=1")
    assert slurm.wait(second, 240) == ("COMPLETED", 0), slurm.output(second)
    assert _events(slurm, "long", "sweep") == 1 and _events(slurm, "long", "result") > before, (
        "it went on and did not begin again"
    )
    assert _events(slurm, "long", "trial_end") == 4


def test_a_wrong_search_space_is_the_exit_status_of_the_job(slurm: SlurmHosts) -> None:
    wrong = slurm.hosts.shared / "wrong.yaml"
    wrong.write_text("task: {name: mqarr}\n")
    env = {"MEMSWEEP_STORAGE": str(_storage(slurm))}
    job = slurm.submit(*HERE, "--nodes=1", "clusters/slurm.sbatch", "wrong", str(wrong), env=env)
    assert slurm.wait(job, 120) == ("FAILED", 2), slurm.output(job)
    assert "mqarr" in slurm.output(job)


def test_a_ray_that_does_not_start_is_a_failed_job_though_symmetric_run_ends_with_zero(slurm: SlurmHosts) -> None:
    last = max(int(number) for number in slurm.ask("squeue", "--noheader", "--states=all", "--format=%i").split())
    line = [sys.executable, "-c", LISTENS, str(20000 + (last + 1) % 10000)]
    with slurm.hosts[0].popen(line, stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None and listener.stdout.readline() == "listening\n"
        job = _submitted(slurm, "never", 1, "--nodes=1", f"--nodelist={slurm.hosts[0].name}")
        ended = slurm.wait(job, 120)
        listener.kill()
    assert job == last + 1 and ended == ("FAILED", 1), slurm.output(job)
    assert "did not begin" in slurm.output(job) and not (_storage(slurm) / "never").exists()
