"""A real Slurm on hosts made of namespaces: the first has the controller, all are nodes."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from hosts import REPOSITORY, Host, Hosts
from waiting import wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
CPUS, MEMORY_MIB = 2, 6144
"""What each node claims to have, whatever the machine has."""

CONFIGURATION = """
ClusterName=namespaces
SlurmctldHost={head.name}({head.ip})
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=30
SlurmdTimeout=30
MpiDefault=none
StateSaveLocation={folder}/state
SlurmctldPidFile=/run/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile=/run/slurmd.pid
SlurmdSpoolDir=/run/slurmd
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

# slurmd wants control groups, and the sysfs of a network namespace comes without: version 1 where there is one, else version 2.
CONTROL_GROUPS = """
mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/freezer &&
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd &&
mount -t cgroup -o freezer cgroup /sys/fs/cgroup/freezer && exit
umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
"""
MUNGED = """
umask 077 && mkdir /run/munge && cat > /run/munge/key && chown -R munge:munge /run/munge && chmod 755 /run/munge &&
setpriv --reuid munge --regid munge --clear-groups munged --force --key-file=/run/munge/key --socket=/run/munge/munge.socket.2 \
    --pid-file=/run/munge/pid --log-file=/run/munge/log --seed-file=/run/munge/seed </dev/null >/dev/null 2>&1
"""


def why_no_slurm() -> str | None:
    """Why there can be no Slurm here, in words; None where there can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)} (tests/cluster/install.sh)" if missing else None


class SlurmHosts:
    """Slurm on ``hosts``, up when the constructor returns; it ends with them."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.folder = hosts.shared / "slurm"
        (self.folder / "state").mkdir(parents=True)
        nodes = "\n".join(
            f"NodeName={host.name} NodeAddr={host.ip} CPUs={CPUS} RealMemory={MEMORY_MIB} State=UNKNOWN" for host in hosts
        )
        self.configuration.write_text(CONFIGURATION.format(head=hosts[0], folder=self.folder, nodes=nodes))
        key = secrets.token_hex(512)
        for host in hosts:
            host.run(["bash", "-c", CONTROL_GROUPS])
            host.run(["bash", "-c", MUNGED], stdin=None, input=key)
        self._run_daemon(hosts[0], "slurmctld", "-f", str(self.configuration))
        for host in hosts:
            self._run_daemon(host, "slurmd", "-f", str(self.configuration), "-N", host.name)
        wait_until(self._all_idle, 30, "all nodes idle", every=0.3)

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    def ask(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
        """What a Slurm command, run on the first host in the repository, writes to its output."""
        return self.hosts[0].run(list(arguments), env={"SLURM_CONF": str(self.configuration), **(env or {})}).stdout

    def submit(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> int:
        """Submits a batch job, whose output goes to :meth:`output`; its number."""
        # The folder for Ray's sockets must be one that the hosts do not share.
        ours = {"MEMSWEEP_ENVIRONMENT": str(Path(sys.executable).parents[1]), "MEMSWEEP_SCRATCH": "/tmp/ray"}
        environment = {**ours, **(env or {})}
        line = ["sbatch", f"--output={self.folder}/%j.out", *arguments]
        told = self.ask(*line, env=environment)
        return int(re.findall(r"Submitted batch job (\d+)", told)[0])

    def output(self, job: int) -> str:
        """What the job has written so far."""
        path = self.folder / f"{job}.out"
        return path.read_text() if path.exists() else ""

    def wait(self, job: int, seconds: float) -> tuple[str, int]:
        """Waits until the job has ended; its state (such as ``COMPLETED``) and exit status.

        Raises:
            AssertionError: it had not in time; the message ends with what the job has written.
        """

        try:
            return wait_until(lambda: self._ended(job), seconds, f"the end of job {job}", every=0.5) or ("", -1)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.output(job)}") from None

    def has_ended(self, job: int) -> bool:
        return self._ended(job) is not None

    def _ended(self, job: int) -> tuple[str, int] | None:
        told = self.ask("scontrol", "--oneliner", "show", "job", str(job))
        (state,), (status,) = re.findall(r"JobState=(\w+)", told), re.findall(r" ExitCode=(\d+):", told)
        return None if state in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING") else (state, int(status))

    def _run_daemon(self, host: Host, *arguments: str) -> None:
        try:
            host.run(arguments, capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except AssertionError as failed:
            logs = "\n".join(path.read_text()[-1000:] for path in self.folder.glob("*.log"))
            raise AssertionError(f"{failed}\n{logs}") from None

    def _all_idle(self) -> bool:
        states = self.ask("sinfo", "--Node", "--noheader", "--format=%T").split()
        return len(states) == len(self.hosts) and set(states) == {"idle"}


__all__ = ["REPOSITORY", "SlurmHosts", "why_no_slurm"]
