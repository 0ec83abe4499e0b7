"""Checkpoint files that are damaged, hostile, links, of a torch that is too old, or that the disk has no room for."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import CPU, small_request, started

from trainables.training.checkpoint import LAST_CHECKPOINT, CheckpointRefused, read_checkpoint, write_checkpoint
from trainables.training.session import TrainingSession
from trainables.training.worker import RunWorker

IDENTITY: dict[str, Any] = {"fingerprint": "0123456789abcdef", "seed": 0}


class Command:
    """What a pickle would run on loading."""

    def __reduce__(self) -> Any:
        return (os.system, ("touch ran-by-pickle",))


def state_of(session: TrainingSession) -> dict[str, Any]:
    """All that :meth:`TrainingSession.save` would write, copied."""
    copied = {name: value.clone() for name, value in session.module.state_dict().items()}
    moments = {
        index: {name: value.clone() for name, value in moment.items()}
        for index, moment in session._optimizer.state_dict()["state"].items()
    }
    plain = (session._epoch, session._best, session._solved, session._last_metrics, session._improved, session._total_seconds)
    return {
        "module": copied,
        "moments": moments,
        "groups": session._optimizer.state_dict()["param_groups"],
        "plain": plain,
        "order": session._order.get_state(),
        "random": torch.get_rng_state(),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


def assert_refused(session: TrainingSession, path: Path, match: str | None = None) -> None:
    before = state_of(session)
    with pytest.raises(CheckpointRefused, match=match):
        session.load(path)
    assert same(state_of(session), before)


@pytest.fixture
def session(tmp_path: Path) -> TrainingSession:
    """After its first step."""
    made = started(small_request(tmp_path))
    made.step()
    return made


@pytest.fixture
def path(tmp_path: Path, session: TrainingSession) -> Path:
    """The session's checkpoint."""
    session.save(tmp_path / "c.pt")
    return tmp_path / "c.pt"


def test_a_torn_file_is_refused_wherever_it_is_torn(path: Path, session: TrainingSession) -> None:
    content = path.read_bytes()
    for length in {0, 1, 10, *range(0, len(content), max(1, len(content) // 40)), len(content) - 1}:
        path.write_bytes(content[:length])
        assert_refused(session, path)
    path.write_bytes(content)
    session.load(path)


def test_a_flipped_bit_in_any_entry_is_refused(path: Path, session: TrainingSession) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    content = path.read_bytes()
    for name, data in entries:
        if len(data) < 16:
            continue
        middle = content.index(data) + len(data) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        assert_refused(session, path, f"damaged at {name}|is no readable checkpoint")


def hostile_pickle(path: Path) -> None:
    torch.save({"format": 2, **IDENTITY, "module": Command()}, path)


def hostile_bare_pickle(path: Path) -> None:
    torch.save({"format": 2, **IDENTITY, "module": Command()}, path, _use_new_zipfile_serialization=False)


def hostile_tar(path: Path) -> None:
    hostile_bare_pickle(path)
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.add(path, name)
    path.with_suffix(".tar").replace(path)


def compressed(path: Path) -> None:
    torch.save({"format": 2, **IDENTITY, "module": torch.zeros(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def script_module(path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def no_dictionary(path: Path) -> None:
    torch.save([1, 2, 3], path)


@pytest.mark.parametrize(
    "write", [hostile_pickle, hostile_bare_pickle, hostile_tar, compressed, script_module, no_dictionary, Path.mkdir]
)
def test_a_hostile_file_runs_nothing_and_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: TrainingSession, write: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "hostile.pt")
    assert_refused(session, tmp_path / "hostile.pt")
    assert not (tmp_path / "ran-by-pickle").exists()


def test_only_a_regular_file_is_read(path: Path, session: TrainingSession) -> None:
    link, pipe = path.with_name("link.pt"), path.with_name("pipe.pt")
    link.symlink_to(path)
    os.mkfifo(pipe)
    for other in (link, pipe):
        assert_refused(session, other, "no regular file")
    assert_refused(session, path / "below-a-file")
    with pytest.raises(FileNotFoundError):
        session.load(path.with_name("absent.pt"))


@pytest.mark.parametrize(
    ("version", "safe"), [("2.5.1", False), ("1.13.0+cu117", False), ("unknown", False), ("2.6.0+cpu", True)]
)
def test_a_torch_that_could_run_code_reads_no_checkpoint(
    path: Path, session: TrainingSession, monkeypatch: pytest.MonkeyPatch, version: str, safe: bool
) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    if safe:
        session.load(path)
    else:
        monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
        assert_refused(session, path, r"CVE-2025-32434.*install torch 2\.6")


def larger(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros(tensor.numel() + 1)


def last_entry(states: dict[Any, Any]) -> Any:
    return list(states)[-1]


def change_last(part: str, change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], None]:
    """Changes what is restored last of a part, after all that comes before it would have been changed already."""

    def apply(state: dict[str, Any]) -> None:
        states = state[part]
        name = last_entry(states)
        if part == "moments":
            states, name = states[name], "exp_avg_sq"
        states[name] = change(states[name])

    return apply


def replace(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state.update(changes)


MISFITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a larger weight": change_last("module", larger),
    "a weight of integers": change_last("module", lambda tensor: tensor.long()),
    "a weight without data": change_last("module", lambda tensor: tensor.to("meta")),
    "a sparse weight": change_last("module", lambda tensor: tensor.to_sparse()),
    "a weight that is text": change_last("module", lambda _: "weight"),
    "a missing weight": lambda state: state["module"].pop(last_entry(state["module"])),
    "one weight more": lambda state: state["module"].update(more=torch.zeros(1)),
    "a larger moment": change_last("moments", larger),
    "a moment that is text": change_last("moments", lambda _: "moment"),
    "a missing moment": lambda state: state["moments"][last_entry(state["moments"])].pop("exp_avg"),
    "moments of a parameter more": lambda state: state["moments"].update({1000: state["moments"][0]}),
    "moments as a list": replace(moments=[1, 2]),
    "no order": lambda state: state.pop("order"),
    "a short order": replace(order=torch.zeros(3, dtype=torch.uint8)),
    "an order of numbers": replace(order=torch.zeros(5056)),
    "a short random state": replace(random={"cpu": torch.zeros(3, dtype=torch.uint8)}),
    "no random state": replace(random={}),
    "an epoch that is text": replace(epoch="1"),
    "a negative epoch": replace(epoch=-1),
    "an epoch after the last one": replace(epoch=4),
    "an epoch that is true": replace(epoch=True),
    "seconds without total": replace(seconds={"train": 1.0}),
    "infinite seconds": replace(seconds={"train": 1.0, "total": float("inf")}),
    "metrics that are no number": replace(metrics={"val/loss": float("nan")}),
    "metrics as a list": replace(metrics=[1.0]),
    "a solved epoch alone": replace(solved={"solved_epoch": 1.0}),
    "a best value that is text": replace(best="1"),
    "an improvement that is a number": replace(improved=1),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_state_that_does_not_fit_changes_nothing(
    path: Path, session: TrainingSession, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    state = read_checkpoint(path, fingerprint=session.request.fingerprint(), seed=0)
    write_checkpoint(path, state, fingerprint=session.request.fingerprint(), seed=0)
    session.load(path)
    MISFITS[name](state)
    write_checkpoint(path, state, fingerprint=session.request.fingerprint(), seed=0)
    session.step()
    assert_refused(session, path, "does not fit this run")


def test_the_hyperparameters_of_the_optimiser_are_the_requests_own(path: Path, session: TrainingSession) -> None:
    state = read_checkpoint(path, fingerprint=session.request.fingerprint(), seed=0)
    assert "optimizer" not in state and "param_groups" not in state
    groups = session._optimizer.state_dict()["param_groups"]
    session.load(path)
    assert session._optimizer.state_dict()["param_groups"] == groups


@pytest.mark.parametrize("write", [hostile_pickle, hostile_tar, no_dictionary])
def test_a_run_whose_checkpoint_is_refused_starts_from_the_beginning_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trial").mkdir()
    write(tmp_path / "trial" / LAST_CHECKPOINT)
    worker = RunWorker(CPU)
    worker.start(small_request(tmp_path, checkpoint_seconds=0.0))
    first, second = worker.advance(), worker.advance()
    assert (first["progress"], first["begun"]["continued_from"]) == (1, 0)
    assert first["warning"].startswith("the run starts from the beginning: ") and second["warning"] is None
    assert not (tmp_path / "ran-by-pickle").exists()
    started(small_request(tmp_path)).load(tmp_path / "trial" / LAST_CHECKPOINT)


def test_reading_a_checkpoint_unpickles_no_class_by_name(tmp_path: Path) -> None:
    """An audit hook cannot be taken away again, so it watches a process of its own."""
    script = f"""
import sys
from pathlib import Path
sys.path.insert(0, {os.path.dirname(__file__)!r})
from small_runs import CPU, small_request
from trainables.training.worker import RunWorker
request = small_request(Path({str(tmp_path)!r}), checkpoint_seconds=0.0)
first = RunWorker(CPU)
first.start(request), first.advance(), first.stop()
found = []
sys.addaudithook(lambda event, arguments: found.append(arguments) if event == "pickle.find_class" else None)
worker = RunWorker(CPU)
worker.start(request)
print(worker.advance()["begun"]["continued_from"], found)
import pickle, collections
pickle.loads(pickle.dumps(collections.OrderedDict))
print(len(found))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.splitlines() == ["1 []", "1"], "the hook sees unpickling, and there is none"


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Sets how many bytes this process may write into one file, which the kernel enforces as it does the end of a disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_keeps_the_old_checkpoint_and_leaves_no_part(
    tmp_path: Path, session: TrainingSession, file_size_limit: Callable[[int], None]
) -> None:
    kept = tmp_path / "trial" / "c.pt"
    session.save(kept)
    content = kept.read_bytes()
    session.step()
    for size in (len(content) // 20, len(content) // 2, len(content) - 100):
        file_size_limit(size)
        with pytest.raises(OSError, match="File too large"):
            session.save(kept)
        file_size_limit(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        assert kept.read_bytes() == content and [path.name for path in kept.parent.iterdir()] == ["c.pt"]
    started(small_request(tmp_path)).load(kept)


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_a_large_checkpoint_fails_with_what_the_disk_said_not_with_what_torch_made_of_it(
    tmp_path: Path, file_size_limit: Callable[[int], None], part: float
) -> None:
    state = {"module": {str(index): torch.zeros(25_000) for index in range(10)}}
    write_checkpoint(tmp_path / "c.pt", state, **IDENTITY)
    file_size_limit(int((tmp_path / "c.pt").stat().st_size * part))
    with pytest.raises(OSError, match="File too large"):
        write_checkpoint(tmp_path / "c.pt", state, **IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]
    assert set(read_checkpoint(tmp_path / "c.pt", **IDENTITY)["module"]) == set(state["module"])


def test_a_sync_that_fails_keeps_the_old_checkpoint(
    path: Path, session: TrainingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        session.save(path)
    assert path.read_bytes() == content and not list(path.parent.glob(".c.pt.*"))


def test_a_checkpoint_that_cannot_be_written_costs_a_warning_a_reason_not_the_run(tmp_path: Path) -> None:
    """The disk fills after the first step; then the folder is gone, which is another reason; then all is well again."""
    request = small_request(tmp_path, checkpoint_seconds=0.0, training={"epochs": 6})
    worker = RunWorker(CPU)
    worker.start(request)
    payloads = [worker.advance()]
    size = (tmp_path / "trial" / LAST_CHECKPOINT).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        payloads += [worker.advance(), worker.advance()]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert started(request).progress == 0
    kept = started(request)
    kept.load(tmp_path / "trial" / LAST_CHECKPOINT)
    assert kept.progress == 1, "the one from before is intact"
    (tmp_path / "trial").rename(tmp_path / "away")
    (tmp_path / "trial").write_text("a file in the way")
    payloads += [worker.advance(), worker.advance()]
    (tmp_path / "trial").unlink()
    payloads += [worker.advance()]
    assert [payload["outcome"] for payload in payloads] == [None] * 5 + ["completed"]
    warnings = [payload["warning"] for payload in payloads]
    assert warnings[1] == (
        "checkpoint.pt could not be written: File too large; the run goes on, but a restart would begin at step 2"
    )
    assert "File exists" in warnings[3] and "begin at step 2" in warnings[3]
    assert [index for index, warning in enumerate(warnings) if warning] == [1, 3]
    assert (tmp_path / "trial" / LAST_CHECKPOINT).is_file() and not list((tmp_path / "away").glob(".*"))


ON_A_SMALL_DISK = """
import json, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from small_runs import CPU, small_request
from trainables.training.worker import RunWorker
worker, disk = RunWorker(CPU), Path(sys.argv[2])
request = small_request(Path(sys.argv[3]), folder=disk / "run", checkpoint_seconds=0.0, training={"epochs": 4})
worker.start(request)
payloads = [worker.advance()]
room = (disk / "run" / "checkpoint.pt").stat().st_size // 2
(disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - room))
payloads += [worker.advance(), worker.advance()]
left = sorted(path.name for path in (disk / "run").iterdir())
(disk / "filler").unlink()
payloads += [worker.advance()]
again = RunWorker(CPU)
again.start(request)
print(json.dumps([[p["outcome"] for p in payloads], [p["warning"] for p in payloads], left, again.advance()["progress"]]))
"""


def test_a_disk_that_is_really_full_costs_a_warning_not_the_run(tmp_path: Path) -> None:
    """A file system in memory, in a name space of its own, that has room for half a checkpoint more after the first one."""
    mount = "mount -t tmpfs -o size=400k none "
    (tmp_path / "disk").mkdir()
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            ["unshare", "-rm", "sh", "-c", mount + str(tmp_path / "disk")], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("this machine lets nobody make a small file system")
    command = f'{mount}"$2" && exec "$0" -c "$4" "$1" "$2" "$3"'
    arguments = [sys.executable, os.path.dirname(__file__), str(tmp_path / "disk"), str(tmp_path), ON_A_SMALL_DISK]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, *arguments], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    outcomes, warnings, left, progress = json.loads(done.stdout)
    assert outcomes == [None, None, None, "completed"] and left == [LAST_CHECKPOINT] and progress == 4
    assert warnings == [
        None,
        "checkpoint.pt could not be written: No space left on device; the run goes on, but a restart would begin at step 2",
        None,
        None,
    ]
