"""A program: a local Ray with two declared GPUs, whose memory is played, and a run that leaves some behind.

It prints what happened as JSON. Told the word ``survey``, it looks at the GPUs of a Ray whose CUDA_VISIBLE_DEVICES is set.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from orchestrator.ray_executor.security import closed_ray

WAIT_S = 90.0
REQUEST = {
    **{"architecture": "gpt", "task": "mqar", "model": {"dim": 16, "n_layers": 1, "n_heads": 2, "dk": 8, "dv": 8}},
    **{"task_values": {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 64, "val_examples": 8}},
    **{"training": {"epochs": 5}},
}


def wait_for(what: str, holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)
    return found


def quarantine(folder: Path) -> dict[str, Any]:
    import ray

    from orchestrator.packing.capacity import GpuMemory
    from orchestrator.ray_executor.quarantine import Quarantine
    from orchestrator.ray_executor.tenancy import Examination, Place, Reading
    from trainables.heartbeat import Sender
    from trainables.ray_trainable import CONFIGURATION, SweepTrainable

    class Worker(SweepTrainable):
        def state(self) -> tuple[str | None, list[int]]:
            return self._label, [int(entry) for entry in ray.get_runtime_context().get_accelerator_ids()["GPU"]]

    node = ray.get_runtime_context().get_node_id()
    used = {Place(node, "0"): 100.0, Place(node, "1"): 100.0}

    def read(places: Iterable[Place], processes: Iterable[Sender]) -> Reading:
        return Reading({place: used[place] for place in places}, [])

    def configuration(run: str) -> dict[str, str]:
        request = {"run": run, "artifacts": str(folder), **REQUEST}
        told = {"request": request, "reservation": {"cpus": 1, "limit_mib": 4000.0}, "tenancy": keeper.to_dict()}
        return {CONFIGURATION: json.dumps(told)}

    def begin(run: str) -> Any:
        worker = ray.remote(Worker).options(num_cpus=1, num_gpus=1).remote(configuration(run))
        ray.get(worker.train.remote())
        return worker

    gpus = [GpuMemory(node, gpu, "played", 8000, 7900) for gpu in "01"]
    found: dict[str, Any] = {}
    with Quarantine(gpus, tick_s=0.05, examination=Examination(patience_s=0.1), read=read) as keeper:
        worker = begin("r1")
        found["at hand"], (gpu,) = ray.get(worker.state.remote())
        used[Place(node, str(gpu))] = 6000.0
        keeper.depart("r1#1")
        wait_for("the worker leaves the run", lambda: ray.get(worker.state.remote())[0] is None)
        found["warning"] = [*wait_for("a warning", lambda: list(keeper.warnings()))[0], f"GPU {gpu} of node {node}"]
        found["held beside an idle worker"] = keeper.held_gpus
        ray.get(worker.reset.remote(configuration("r2")))
        try:
            ray.get(worker.train.remote())
        except ray.exceptions.RayActorError as error:
            found["refused"] = str(error)
        wait_for("the guard holds the GPU", lambda: keeper.held_gpus == 1.0)
        other = begin("r2")
        found["elsewhere"] = ray.get(other.state.remote())[1] != [gpu]
        used[Place(node, str(gpu))] = 100.0
        found["released"] = wait_for("the release", lambda: list(keeper.warnings()))[0]
        wait_for("the guard lets go", lambda: keeper.held_gpus == 0.0)
        found["after"] = ray.get(begin("r3").state.remote())[1] == [gpu]
    return found


def survey(folder: Path) -> dict[str, Any]:
    import ray

    from orchestrator.ray_executor import devices

    node = ray.get_runtime_context().get_node_id()
    environment = devices._answers({node: (_visible_devices, ())})
    return {"visible": environment[node], "gpus": devices.survey(), "name": devices.name_on(node, "7"), "read": _read(node)}


def _visible_devices() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def _read(node: str) -> list[Any]:
    from orchestrator.ray_executor.devices import read
    from orchestrator.ray_executor.tenancy import Place
    from trainables.heartbeat import Sender, start_of_process

    here, gone, away = (Sender(node, os.getpid(), start_of_process(os.getpid())), Sender(node, 1, "?"), Sender("no node", 1, "?"))
    reading = read([Place(node, "7"), Place("no node", "0")], [here, gone, away])
    return [list(reading.used_mib), sorted(process in (gone, away) for process in reading.gone), list(reading.lost)]


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "survey":
        os.environ["CUDA_VISIBLE_DEVICES"] = "4,7"
    with closed_ray():
        import ray

        ray.init(
            num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=sys.argv[3]
        )
        print(json.dumps({"quarantine": quarantine, "survey": survey}[what](folder)), flush=True)
        ray.shutdown()


if __name__ == "__main__":
    main()
