"""The host's high-water mark on real memory, each case in a process of its own, and on kernels that refuse or lack it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.memory.host import HostMemory

TWO_RUNS = """
import json
import numpy
from trainables.memory.host import HostMemory

host = HostMemory()
recorded = []
for mebibytes in (192, 64, 16):
    host.start()
    touched = numpy.ones(mebibytes * 2**17)
    del touched
    recorded.append(host.metrics())
print(json.dumps(recorded))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is the Linux kernel's")
def test_each_run_has_the_peak_of_what_it_touched_and_freed():
    output = subprocess.run([sys.executable, "-c", TWO_RUNS], capture_output=True, text=True, check=True).stdout
    rises = [run["memory/peak_host_mib"] - run["memory/baseline_host_mib"] for run in json.loads(output)]
    assert rises == pytest.approx([192, 64, 16], rel=0.03, abs=1)


def process_folder(folder: Path, resettable: bool, peak_mib: int | None = 300, resident_mib: int = 200) -> Path:
    """A stand-in for ``/proc/self``; where it is not resettable, ``clear_refs`` is something that cannot be written."""
    clear_refs = folder / "clear_refs"
    if not clear_refs.exists():
        clear_refs.touch() if resettable else clear_refs.mkdir()
    peak_line = "" if peak_mib is None else f"VmHWM:\t{peak_mib * 1024} kB\n"
    (folder / "status").write_text(f"Name:\tpython\n{peak_line}VmRSS:\t{resident_mib * 1024} kB\nThreads:\t3\n")
    return folder


def test_the_mark_is_reset_by_writing_five(tmp_path: Path):
    host = HostMemory(process_folder(tmp_path, resettable=True))
    host.start()
    assert (tmp_path / "clear_refs").read_text() == "5"
    assert host.metrics() == {"memory/baseline_host_mib": 200, "memory/peak_host_mib": 300}


def test_an_older_peak_is_not_reported_where_the_reset_is_refused(tmp_path: Path):
    host = HostMemory(process_folder(tmp_path, resettable=False))
    host.start()
    process_folder(tmp_path, resettable=False, resident_mib=290)
    assert host.metrics() == {"memory/baseline_host_mib": 200}


def test_a_peak_above_all_older_ones_is_this_runs_own(tmp_path: Path):
    host = HostMemory(process_folder(tmp_path, resettable=False))
    host.start()
    process_folder(tmp_path, resettable=False, peak_mib=350)
    assert host.metrics() == {"memory/baseline_host_mib": 200, "memory/peak_host_mib": 350}


def test_a_kernel_without_a_mark_tells_the_baseline_alone(tmp_path: Path):
    host = HostMemory(process_folder(tmp_path, resettable=True, peak_mib=None))
    host.start()
    assert host.metrics() == {"memory/baseline_host_mib": 200}


def test_off_linux_nothing_is_known_and_nothing_is_created(tmp_path: Path):
    host = HostMemory(tmp_path / "proc")
    assert host.metrics() == {}
    host.start()
    assert host.metrics() == {}
    assert not list(tmp_path.iterdir())
