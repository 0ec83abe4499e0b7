"""Measurements in processes of their own: what comes back, however such a process ends, and that none outlives its parent."""

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from footprint_requests import footprint_request

from trainables.footprint.process import FootprintFailed, FootprintOutOfMemory, measure_in_process
from trainables.training.outcome import outcome_of_exception

REQUEST = footprint_request("gpt")
LIMIT_S = 60


def measured_by(script: str) -> dict[str, float]:
    """What comes back of a process that runs ``script``, which may use json, os, signal and sys."""
    command = (sys.executable, "-c", f"import json, os, signal, sys\n{script}")
    return measure_in_process(REQUEST, lambda: None, command)


def test_the_child_gets_the_request_and_its_metrics_come_back() -> None:
    script = "asked = json.loads(sys.stdin.readline()); print(json.dumps({'metrics': {'tokens': asked['task']['n_tokens']}}))"
    assert measured_by(script) == {"tokens": 64.0}


def test_each_line_of_the_child_is_a_sign_of_life() -> None:
    beats: list[int] = []
    script = "import json\nfor line in [{'beat': True}] * 3 + [{'metrics': {'a': 1}}]: print(json.dumps(line), flush=True)"
    measure_in_process(REQUEST, lambda: beats.append(1), (sys.executable, "-c", script))
    assert len(beats) == 4


def test_a_lack_of_memory_in_the_child_is_one_of_the_run() -> None:
    script = "print(json.dumps({'error': {'type': 'OutOfMemoryError', 'message': 'CUDA'}, 'out_of_memory': True}))"
    with pytest.raises(FootprintOutOfMemory, match=r"infer_no_cache of 1 × 64 tokens in float32 on cpu: Out.*CUDA") as caught:
        measured_by(script)
    assert outcome_of_exception(caught.value) == "oom"


def test_a_killed_child_ran_out_of_memory() -> None:
    with pytest.raises(FootprintOutOfMemory, match=r"killed \(SIGKILL\).*64 tokens") as caught:
        measured_by("os.kill(os.getpid(), signal.SIGKILL)")
    assert outcome_of_exception(caught.value) == "oom"


def test_any_other_fault_of_the_child_is_a_failure_with_its_traceback() -> None:
    error = "{'type': 'ValueError', 'message': 'no', 'traceback': 'in this line'}"
    with pytest.raises(FootprintFailed, match=r"(?s)ValueError: no.*64 tokens.*in this line") as caught:
        measured_by(f"print(json.dumps({{'error': {error}, 'out_of_memory': False}}))")
    assert outcome_of_exception(caught.value) == "failed"


@pytest.mark.parametrize("line", ["", "no JSON", "[1]", '{"metrics": {"a": "many"}}', '{"metrics": {"a": NaN}}', '{"metrics": {'])
def test_without_a_readable_result_the_status_and_the_last_words_are_told(line: str) -> None:
    with pytest.raises(FootprintFailed, match=r"(?s)status 3 and no result.*last words"):
        measured_by(f"print({line!r}, flush=True); sys.stderr.write('last words'); sys.exit(3)")


def test_an_exception_of_whoever_waits_ends_the_child(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    script = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); print('{{}}', flush=True); sys.stdin.read()"
    with pytest.raises(KeyboardInterrupt):
        measure_in_process(REQUEST, interrupt, (sys.executable, "-c", f"import os, sys\n{script}"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_real_child_tells_what_its_process_needs() -> None:
    beats: list[int] = []
    metrics = measure_in_process(REQUEST, lambda: beats.append(1))
    assert metrics["memory/peak_host_mib"] > metrics["memory/baseline_host_mib"] > metrics["memory/weights_mib"] > 0
    assert len(beats) >= 2


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from footprint_requests import footprint_request
from trainables.footprint.process import measure_in_process
measure_in_process(footprint_request("gpt", repeats=10**9), lambda: print("beat", flush=True))
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are followed as Linux does it")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"beat\n"
        (child,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
        followed = os.pidfd_open(child)
        try:
            parent.kill()
            ended, _, _ = select.select([followed], [], [], LIMIT_S)
        finally:
            os.close(followed)
    assert ended, f"process {child} goes on"
