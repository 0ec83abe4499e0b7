"""A program: sweeps on a Ray with two declared GPUs, whose memory is played. It prints what it saw as one JSON text.

Workers note in the folder NOTES when a run begins and ends in which process and on which GPUs; runs of the entry `hungry` run out
of memory there, as often as the name of the entry says.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from orchestrator.launch import LaunchOptions, LaunchResult, SweepObserver, launch, resume
from orchestrator.ray_executor.cluster import QUIET_ENVIRONMENT
from orchestrator.ray_executor.security import closed_ray
from orchestrator.record import read_journal
from orchestrator.report.collect import load_sweep
from orchestrator.space.reading import read_search_space
from orchestrator.sweep.folder import SweepFolder

HERE = Path(__file__).parent
NOTES = "PACKED_SWEEPS_NOTES"
NEEDED_MIB = {"hungry": 2500.0, "insatiable": 2500.0, "huge": 9000.0}
"""What runs say they would have needed when memory ran out. Of 4,000 MiB a GPU."""
ATTEMPTS_WITHOUT_MEMORY = {"hungry": 1, "insatiable": 9, "huge": 1}
GPU_MIB = 4000.0
WAIT_S = 150.0


def note(**values: Any) -> None:
    with (Path(os.environ[NOTES]) / "notes.jsonl").open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), "time": time.monotonic(), **values}) + "\n")


def noted(storage: Path) -> list[dict[str, Any]]:
    path = storage / "notes.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def register() -> None:
    """Ray calls this in every worker process."""
    import torch

    from trainables.training.session import TrainingSession
    from trainables.training.worker import RunWorker

    start, advance, step = RunWorker.start, RunWorker.advance, TrainingSession.step

    def noting_start(worker: RunWorker, request: Any, share: Any = None) -> None:
        import ray

        context = ray.get_runtime_context()
        gpus = context.get_accelerator_ids()["GPU"]
        note(kind="begin", label=request.label, gpus=gpus, share=context.get_assigned_resources()["GPU"], limit=share.limit_mib)
        start(worker, request, share)

    def noting_advance(worker: RunWorker) -> dict[str, Any]:
        payload = advance(worker)
        if payload["outcome"] is not None:
            note(kind="end", run=payload["run"])
        needed = NEEDED_MIB.get(payload["run"].partition("-")[0])
        return {**payload, "needed_mib": needed} if payload["outcome"] == "oom" else payload

    def hungry_step(session: TrainingSession) -> Any:
        entry = session.request.run.partition("-")[0]
        wait_at_gate(session.request.run, f"{entry}_{session.request.attempt}" if entry in NEEDED_MIB else entry)
        if session.progress and session.request.attempt <= ATTEMPTS_WITHOUT_MEMORY.get(entry, 0):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 900.00 MiB.")
        return step(session)

    RunWorker.start, RunWorker.advance, TrainingSession.step = noting_start, noting_advance, hungry_step  # type: ignore[method-assign]


def wait_at_gate(run: str, kind: str) -> None:
    """While there is a gate for its kind, a run waits until that is gone or the run is let through by name."""
    notes = Path(os.environ[NOTES])
    wait_for("the gate opens", lambda: not (notes / f"gate_of_{kind}").exists() or (notes / f"let_through_{run}").exists())


def wait_for(what: str, holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)
    return found


class PlayedGpus:
    """In place of the GPUs' drivers: two GPUs, of which each says that it holds ``used_mib`` at the moment."""

    def __init__(self, used_mib: float = 100.0) -> None:
        import ray

        self.node = ray.get_runtime_context().get_node_id()
        self.used_mib = {gpu: used_mib for gpu in "01"}

    def survey(self) -> list[Any]:
        from orchestrator.packing import GpuMemory

        return [GpuMemory(self.node, gpu, "played", GPU_MIB + 612, GPU_MIB + 612 - used) for gpu, used in self.used_mib.items()]

    def read(self, places: Collection[Any], processes: Iterable[Any]) -> Any:
        from orchestrator.ray_executor.tenancy import Place, Reading

        gone = [process for process in processes if not Path(f"/proc/{process.pid}").exists()]
        return Reading({place: self.used_mib[place.gpu] for place in places if place == Place(self.node, place.gpu)}, gone)

    def put_in_place(self) -> None:
        from orchestrator.ray_executor import devices, quarantine
        from orchestrator.ray_executor.tenancy import Examination

        def impatient(*gpus: Any) -> Any:
            return real(*gpus, tick_s=0.1, examination=Examination(patience_s=0.2), read=self.read)

        real = quarantine.Quarantine
        devices.survey = self.survey
        quarantine.Quarantine = impatient  # type: ignore[misc, assignment]


class Told(SweepObserver):
    """Remembers what a person would be shown."""

    def __init__(self, on_end: Callable[[set[str]], None] = lambda ended: None) -> None:
        self.warnings: list[str] = []
        self.messages: list[str] = []
        self._ended: set[str] = set()
        self._on_end = on_end

    def warned(self, run: str, message: str) -> None:
        self.warnings.append(message)

    def told(self, message: str) -> None:
        self.messages.append(message)

    def run_ended(self, controller: Any, trial: Any, run: Any) -> None:
        self._ended.add(run.id)
        self._on_end(self._ended)


def spoil_next(storage: Path, before: int, gpus: PlayedGpus, quarantines: int) -> bool:
    """Has a run end, whose GPU then holds more than anybody may; False, as what follows is told elsewhere."""
    spoilt = [gpu for gpu, used in gpus.used_mib.items() if used > GPU_MIB]
    at_work = running(noted(storage)[before:])
    sound = [gpu for gpu in at_work.values() if gpu not in spoilt]
    if len(spoilt) < quarantines and sound:
        gpus.used_mib[sound[0]] = 3 * GPU_MIB
        spoilt.append(sound[0])
    for label, gpu in at_work.items():
        if gpu in spoilt or len(spoilt) < quarantines:
            (storage / f"let_through_{label.partition('#')[0]}").touch()
    return False


def running(notes: list[dict[str, Any]]) -> dict[str, str]:
    """The attempts that have begun and not ended, each with its GPU."""
    found: dict[str, str] = {}
    for one in notes:
        if one["kind"] == "begin":
            found[one["label"]] = one["gpus"][0]
        else:
            found = {label: gpu for label, gpu in found.items() if label.partition("#")[0] != one["run"]}
    return found


def living_groups() -> list[str]:
    """The placement groups that hold something."""
    from ray.util import placement_group_table

    return [key for key, group in placement_group_table().items() if group["state"] not in ("REMOVED",)]


def held_gpus() -> float:
    """What is held of both GPUs by groups that no run has."""
    from ray.util import placement_group_table

    groups = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
    bundles = [bundle for group in groups for bundle in group["bundles"].values()]
    return float(sum(bundle.get("GPU", 0.0) for bundle in bundles if not bundle.get("CPU")))


def space_of(name: str, entries: dict[str, dict[str, Any]], **resources: Any) -> dict[str, Any]:
    from small_sweeps import small_space

    return small_space(
        name=name,
        architectures={entry: {"architecture": "gpt", "dim": 8, **values} for entry, values in entries.items()},
        model={"n_layers": 1, "n_heads": 1, "dk": 8, "dv": 8},
        training={"batch_size": 32, "epochs": 3},
        constraints=None,
        checkpoints={"interval": 1e-6},
        search={"sampler": "grid"},
        resources={"gpu": "auto", "gpu_memory_mib": GPU_MIB, **resources},
    )


def rates(number: int) -> dict[str, Any]:
    """So many configurations of one size."""
    return {"training": {"lr": {"choice": [round(0.001 * (index + 1), 3) for index in range(number)]}}}


def begin(storage: Path, document: dict[str, Any], observer: SweepObserver) -> dict[str, Any]:
    from small_sweeps import write_space

    specification = read_search_space(write_space(storage, document))
    return summary(launch(specification, LaunchOptions(storage, specification.name), observer))


def go_on(storage: Path, name: str, observer: SweepObserver) -> dict[str, Any]:
    return summary(resume(SweepFolder(storage / name), None, LaunchOptions(storage, name), observer))


def summary(result: LaunchResult) -> dict[str, Any]:
    runs = load_sweep(result.folder).state.runs.values()
    events = read_journal(result.folder.record)
    return {
        "interrupted": result.interrupted,
        "slowest": result.slowest_call_s,
        "outcomes": {run.id: run.outcome for run in runs},
        "progress": {run.id: run.progress for run in runs},
        "attempts": {run.id: run.attempts for run in runs},
        "retries": [[event["run"], event["needed_mib"]] for event in events if event["kind"] == "retry"],
        "warnings": [event["message"] for event in events if event["kind"] == "warning"],
    }


def packed(storage: Path) -> dict[str, Any]:
    """Runs of two sizes; when they have ended, those that run out of memory; Ctrl-C when one is begun once more."""
    large = {"dim": 256, "task": {"vocab_size": 30000, "train_examples": 32, "val_examples": 8}, **rates(2)}
    entries = {"small": rates(4), "large": large, **{entry: {} for entry in NEEDED_MIB}}
    gates, second = [storage / f"gate_of_{entry}_1" for entry in NEEDED_MIB], storage / "gate_of_hungry_2"
    for gate in (*gates, second):
        gate.touch()

    def open_gates(ended: set[str]) -> None:
        if len(ended) == 6:
            for gate in gates:
                gate.unlink(missing_ok=True)

    def interrupt() -> None:
        wait_for("a retry", lambda: [one for one in noted(storage) if one.get("label") == "hungry-0000-s0#2"])
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    first = begin(storage, space_of("packed", entries), Told(open_gates))
    second.unlink()
    for entry in NEEDED_MIB:
        note(kind="end", run=f"{entry}-0000-s0")  # with their processes
    return {"first": first, "last": go_on(storage, "packed", Told()), "notes": noted(storage), "groups": living_groups()}


def quarantined(storage: Path) -> dict[str, Any]:
    """One GPU after the other keeps memory; with both in quarantine Ctrl-C, and on with the sweep when memory has returned."""
    gpus, told = PlayedGpus(), Told()
    gpus.put_in_place()
    gate = storage / "gate_of_plain"
    gate.touch()
    found: dict[str, Any] = {}
    before = len(noted(storage))

    def play() -> None:
        wait_for("a quarantine", lambda: told.warnings or spoil_next(storage, before, gpus, 1))
        wait_for("another", lambda: len(told.warnings) == 2 or spoil_next(storage, before, gpus, 2))
        gate.unlink()
        wait_for("all is held", lambda: held_gpus() >= 1.99)
        found["held"] = held_gpus()
        found["running"] = running(noted(storage)[before:])
        found["pressed"] = time.monotonic()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=play, daemon=True).start()
    found["first"] = begin(storage, space_of("quarantined", {"plain": rates(9)}, concurrency=3), told)
    found["seconds_to_end"] = time.monotonic() - found["pressed"]
    found["groups"] = living_groups()
    found["warned"] = told.warnings
    gpus.used_mib = dict.fromkeys(gpus.used_mib, 100.0)
    found["last"] = go_on(storage, "quarantined", Told())
    return {**found, "notes": noted(storage)[before:]}


def main() -> None:
    storage, ray_folder, scenarios = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    os.environ[NOTES] = str(storage)
    with closed_ray():
        import ray

        os.environ |= QUIET_ENVIRONMENT
        ray.init(
            num_cpus=5,
            num_gpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=ray_folder,
            runtime_env={
                "env_vars": {"PYTHONPATH": str(HERE), NOTES: str(storage)},
                "worker_process_setup_hook": "packed_sweeps.register",
            },
        )
        print(
            json.dumps({scenario: {"packed": packed, "quarantined": quarantined}[scenario](storage) for scenario in scenarios}),
            flush=True,
        )
        ray.shutdown()


if __name__ == "__main__":
    main()
