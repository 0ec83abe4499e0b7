"""The hosts made of namespaces are what the other tests take them for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Hosts, ip, remove_what_dead_processes_left
from waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("namespaces")]


@pytest.fixture(scope="module")
def pair(namespaces: None) -> Iterator[Hosts]:
    with Hosts(2) as hosts:
        yield hosts


def reaches(hosts: Hosts, address: str) -> bool:
    """Whether the first host gets an answer (a refused connection is one) from ``address`` within a second."""
    program = f"import socket; s = socket.socket(); s.settimeout(1); print(s.connect_ex(('{address}', 9)))"
    return hosts[0].run([sys.executable, "-c", program]).stdout.strip() == "111"


def test_hosts_have_a_name_an_address_and_processes_of_their_own(pair: Hosts) -> None:
    first, second = pair
    assert first.run(["hostname"]).stdout == "h1\n"
    assert first.ip in first.run(["ip", "-4", "addr"]).stdout
    sleeper = second.popen(["sleep", "60"])
    assert wait_until(lambda: second.pids("sleep 60"), 5, "the sleeper")
    assert "sleep 60" not in first.run(["ps", "-ef"]).stdout
    assert "sleep 60" in second.run(["ps", "-ef"]).stdout
    sleeper.kill()
    wait_until(lambda: not second.pids("sleep 60"), 5, "the end of the sleeper, which dies with its command line")


def test_the_home_is_a_copy_and_the_shared_folder_is_not(pair: Hosts) -> None:
    first, second = pair
    assert not first.run(["sh", "-c", "ls ~/.ray ~/.ssh"], check=False).stdout
    first.run(["sh", "-c", f"echo mine > ~/note-{os.getpid()}; echo ours > {pair.shared}/note"])
    assert second.run(["sh", "-c", f"cat {pair.shared}/note; ls ~"]).stdout.splitlines()[0] == "ours"
    assert not (Path.home() / f"note-{os.getpid()}").exists()
    assert (pair.shared / "note").read_text() == "ours\n"


def test_a_cut_link_silences_a_host_and_healing_brings_it_back(pair: Hosts) -> None:
    assert reaches(pair, pair[1].ip) and reaches(pair, "h2") and reaches(pair, pair.gateway)
    pair[1].cut()
    assert not reaches(pair, pair[1].ip)
    assert pair[1].run(["echo", "alive"]).stdout == "alive\n"
    pair[1].heal()
    wait_until(lambda: reaches(pair, pair[1].ip), 20, "the healed link")


def test_a_failed_command_tells_what_it_wrote(pair: Hosts) -> None:
    with pytest.raises(AssertionError, match=r"(?s)h1: sh -c .* ended with 7:.*the reason"):
        pair[0].run(["sh", "-c", "echo the reason >&2; exit 7"])


def test_a_signal_reaches_the_command_inside(pair: Hosts) -> None:
    program = "from signal import *; signal(SIGINT, lambda *_: exit(5)); print('armed', flush=True); pause()"
    started = pair[0].popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert started.stdout is not None and started.stdout.readline() == "armed\n"
    pair[0].send(started, signal.SIGINT)
    assert started.wait(10) == 5


def test_an_ended_host_takes_its_daemons_with_it_and_nothing_is_left_of_any() -> None:
    with Hosts(2) as hosts:
        hosts[0].run(["sh", "-c", "setsid sleep 77 >/dev/null 2>&1 &"])
        (daemon,) = wait_until(lambda: hosts[0].pids("sleep 77"), 5, "the daemon")
        hosts[0].end()
        wait_until(lambda: not Path(f"/proc/{daemon}").exists(), 5, "the end of the daemon")
        assert not hosts[0].running and hosts[1].running
        names, folder = [host.namespace for host in hosts], hosts.folder
    assert not folder.exists()
    assert not any(name in ip("netns", "list") + ip("link", "show") for name in names)


def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    here = Path(__file__).parent
    program = "import os, hosts; made = hosts.Hosts(1).__enter__(); print(made[0].namespace, flush=True); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True)
    namespace = killed.stdout.strip()
    assert killed.returncode == -signal.SIGKILL and namespace in ip("netns", "list")
    remove_what_dead_processes_left()
    assert namespace not in ip("netns", "list")
    assert namespace.removesuffix("1") not in ip("link", "show")
    assert not list(Path(tempfile.gettempdir()).glob(f"{namespace.removesuffix('1')}*"))
