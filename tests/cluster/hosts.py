"""Hosts made of namespaces: on one machine, several that have an address, processes, a name and a home of their own.

A host is a network namespace on a bridge, and PID, mount, UTS and IPC namespaces with a first process that reaps. It sees the
files of the machine (the repository, ``.venv``, any folder outside the home: that is the shared storage), but has its own
``/dev/shm``, ``/run``, ``/tmp/ray``, and an overlay over the home without the machine's ``~/.ray`` and ``~/.ssh``. PID namespaces
are no luxury: ``ray stop`` and ``ray up`` end every Ray process that they can see.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waiting import wait_until

PREFIX = "msw"
"""Of every bridge, link and namespace: ``msw<pid><a, b, …><number>``, so that what a killed process left can be told."""

REPOSITORY = Path(__file__).resolve().parents[2]
INITIAL = Path(__file__).with_name("first_process.sh")
START_S, END_S = 20.0, 20.0
_letters = itertools.cycle("abcdefghijklmnopqrstuvwxyz")


def why_not() -> str | None:
    """Why hosts cannot be made here, in words; None where they can. Tries it with one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "hosts made of namespaces need Linux and root"
    if missing := [tool for tool in ("ip", "unshare", "nsenter", "setpriv", "mount") if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)}"
    try:
        with Hosts(["probe"]) as hosts:
            hosts[0].run(["true"])
    except (OSError, RuntimeError, AssertionError) as error:
        return f"this machine makes no hosts of namespaces: {error}"
    return None


def ip(*arguments: str) -> str:
    """Runs ``ip``; returns its output.

    Raises:
        RuntimeError: it failed; the message says with what.
    """
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


@dataclass
class Host:
    """One host; made by :class:`Hosts`."""

    name: str
    ip: str
    namespace: str
    folder: Path
    _init: subprocess.Popen[str] | None = field(default=None, repr=False)
    first_process: int = 0
    """Its PID 1, as this machine numbers it."""

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What commands see: nothing of this process but PATH and the home; ``.venv`` first."""
        path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ours = {"HOME": str(Path.home()), "PATH": path, "LANG": "C.UTF-8", "USER": "root", "SHELL": "/bin/bash"}
        return {**ours, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **(extra or {})}

    def command(self, arguments: Sequence[str | Path], folder: Path = REPOSITORY) -> list[str]:
        """The command line that runs ``arguments`` inside; whoever kills it kills the command, too."""
        enter = ["nsenter", f"--target={self.first_process}", "--net", "--pid", "--mount", "--uts", "--ipc", f"--wdns={folder}"]
        return [*enter, "setpriv", "--pdeathsig", "KILL", "--", *map(str, arguments)]

    def popen(
        self, arguments: Sequence[str | Path], env: Mapping[str, str] | None = None, folder: Path = REPOSITORY, **options: Any
    ) -> subprocess.Popen[str]:
        """Starts a command inside; ``kill()`` of the result kills it, other signals go through :meth:`send`."""
        options = {"stdin": subprocess.DEVNULL, "text": True, **options}
        return subprocess.Popen(self.command(arguments, folder), env=self.environment(env), **options)

    def run(
        self,
        arguments: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        folder: Path = REPOSITORY,
        *,
        timeout: float = 120.0,
        check: bool = True,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside and waits, at most ``timeout`` seconds; output is captured as text.

        What it leaves running in the background must not hold its output open: the wait is for the end of the output.

        Raises:
            AssertionError: it failed and ``check``; the message holds what it wrote.
            subprocess.TimeoutExpired: it took longer.
        """
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, **options}
        line = self.command(arguments, folder)
        done = subprocess.run(line, env=self.environment(env), timeout=timeout, **options)
        if check and done.returncode != 0:
            told = f"{done.stdout or ''}\n{done.stderr or ''}".strip()
            raise AssertionError(f"{self.name}: {' '.join(map(str, arguments))} ended with {done.returncode}:\n{told}")
        return done

    def send(self, started: subprocess.Popen[str], number: signal.Signals) -> None:
        """Sends a signal to the command that :meth:`popen` started (a signal to ``started`` would reach ``nsenter``)."""
        for pid in _children(started.pid):
            os.kill(pid, number)

    def pids(self, text: str = "") -> list[int]:
        """The processes inside whose command line contains ``text``, as this machine numbers them: ``os.kill`` takes them."""
        own = os.readlink(f"/proc/{self.first_process}/ns/pid")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if os.readlink(folder / "ns/pid") == own and text in line and int(folder.name) != self.first_process:
                    found.append(int(folder.name))
        return sorted(found)

    def cut(self) -> None:
        """Takes the link down: the host lives on, and nobody reaches it."""
        ip("link", "set", self.namespace, "down")

    def heal(self) -> None:
        """Puts the link up again."""
        ip("link", "set", self.namespace, "up")

    @property
    def running(self) -> bool:
        return self._init is not None and self._init.poll() is None

    def start(self) -> None:
        """Makes the namespaces and waits until they are ready.

        Raises:
            RuntimeError: they could not be made.
        """
        (self.folder / "home/upper").mkdir(parents=True)
        for name in ("home/work", "ray"):
            (self.folder / name).mkdir()
        Path("/tmp/ray").mkdir(parents=True, exist_ok=True)
        unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "--mount-proc"]
        line = ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", self.namespace, *unshare]
        self._init = subprocess.Popen(
            [*line, "bash", str(INITIAL), self.name, str(Path.home()), str(self.folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._wait_until_ready(self._init)
        (self.first_process,) = _children(self._init.pid)

    def _wait_until_ready(self, init: subprocess.Popen[str]) -> None:
        assert init.stdout is not None and init.stderr is not None
        readable, _, _ = select.select([init.stdout], [], [], START_S)
        if not readable or init.stdout.readline() != "ready\n":
            self.end()
            raise RuntimeError(f"no namespaces for {self.name}: {init.stderr.read().strip() or f'not ready after {START_S:g} s'}")

    def end(self) -> None:
        """Kills the first process, and with it all others of the host at once: as if somebody pulled the plug."""
        if self._init is None:
            return
        if self.first_process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.first_process, signal.SIGKILL)
        else:
            self._init.kill()
        self._init.wait(END_S)


class Hosts:
    """Hosts on one bridge, for as long as the context lasts; whatever happens, nothing of them is left afterwards.

    The machine itself has the address :attr:`gateway` on that bridge, so that it reaches the hosts and is reached by them. No
    host reaches anything else.

    Raises:
        RuntimeError: they cannot be made (:func:`why_not` says it beforehand).
    """

    def __init__(self, names: Sequence[str] | int = 3) -> None:
        wanted = [f"h{number}" for number in range(1, names + 1)] if isinstance(names, int) else list(names)
        self._tag = f"{PREFIX}{os.getpid()}{next(_letters)}"
        self._bridge = f"{self._tag}br"
        self._network = ""
        self._wanted = wanted
        self._hosts: list[Host] = []
        self.folder = Path()

    def __enter__(self) -> Hosts:
        remove_what_dead_processes_left()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self._tag}-"))
        self.shared.mkdir()
        try:
            self._make_bridge()
            for number, name in enumerate(self._wanted, 1):
                self._hosts.append(self._make_host(number, name))
            lines = "".join(f"{host.ip} {host.name}\n" for host in self._hosts)
            (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{lines}")
            for host in self._hosts:
                host.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, index: int) -> Host:
        return self._hosts[index]

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)

    @property
    def shared(self) -> Path:
        """A folder that all hosts and the machine see under the same path."""
        return self.folder / "shared"

    @property
    def gateway(self) -> str:
        """The address of the machine on the bridge."""
        return f"{self._network}.254"

    def close(self) -> None:
        """Ends all hosts and removes all that belonged to them."""
        for host in self._hosts:
            host.end()
        for host in self._hosts:
            _delete("link", host.namespace)
            _delete("netns", host.namespace)
        _delete("link", self._bridge)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_bridge(self) -> None:
        self._network = _free_network(os.getpid())
        ip("link", "add", self._bridge, "type", "bridge")
        ip("addr", "add", f"{self.gateway}/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")

    def _make_host(self, number: int, name: str) -> Host:
        """The network of one host: a namespace, and in it ``eth0``, whose other end (of its name) is on the bridge."""
        host = Host(name, f"{self._network}.{number}", f"{self._tag}{number}", self.folder / name)
        space = host.namespace
        ip("netns", "add", space)
        ip("link", "add", space, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", space, "master", self._bridge, "up")
        ip("-n", space, "link", "set", "lo", "up")
        ip("-n", space, "addr", "add", f"{host.ip}/24", "dev", "eth0")
        ip("-n", space, "link", "set", "eth0", "up")
        # Ray asks the kernel by which of its addresses it would reach this one, and takes that for its own; nothing is sent.
        ip("-n", space, "route", "add", "8.8.8.8/32", "dev", "eth0")
        return host


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _free_network(seed: int) -> str:
    """The first three numbers of a 10.x.y.0/24 that this machine does not use, beginning where ``seed`` says."""
    used = ip("-o", "-4", "addr", "show")
    for step in range(256):
        low = (seed + step * 101) % (128 * 256)
        network = f"10.{64 + low // 256}.{low % 256}"
        if f" {network}." not in used:
            return network
    raise RuntimeError("no network is free between 10.64.0.0 and 10.191.255.0")


def _delete(kind: str, name: str) -> None:
    with contextlib.suppress(RuntimeError):
        ip(kind, "del", name)


def remove_what_dead_processes_left() -> None:
    """Removes links, namespaces and folders of processes that were killed before they could."""
    links = re.findall(rf"^\d+: ({PREFIX}\w+)[:@]", ip("-o", "link", "show"), re.MULTILINE)
    spaces = [line.split()[0] for line in ip("netns", "list").splitlines() if line.strip()]
    folders = [str(path) for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*")]
    for kind, name in [*(("link", link) for link in links), *(("netns", space) for space in spaces)]:
        if _is_left_over(name):
            _delete(kind, name)
    for folder in filter(_is_left_over, folders):
        shutil.rmtree(folder, ignore_errors=True)


def _is_left_over(name: str) -> bool:
    owner = re.match(rf"{PREFIX}(\d+)[a-z]", Path(name).name)
    return owner is not None and not Path("/proc", owner[1]).exists()


def wait_for_port(host: Host, port: int, seconds: float = 20.0) -> None:
    """Waits until something listens on ``port`` inside, on any of its addresses.

    Raises:
        AssertionError: nothing did in time.
    """
    wait_until(lambda: bool(host.run(["ss", "-Htln", f"sport = :{port}"]).stdout.strip()), seconds, f"port {port} on {host.name}")
