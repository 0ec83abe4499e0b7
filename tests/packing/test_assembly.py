"""Whether runs are packed, and with what is known from the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from packed_runs import no_data, told
from search_space_text import specified

from orchestrator.packing import FixedReserver, GpuMemory, Reservation, Reserver, make_reserver
from orchestrator.packing.packer import Packer
from orchestrator.packing.prediction import WINDOW
from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.resources import allocate
from trainables.prepared import prepare_data
from trainables.training.request import RunRequest

GPU = GpuMemory("node-1", "GPU-a", "NVIDIA L4", 23_034, 22_500)
FILLED = GpuMemory("node-2", "GPU-b", "NVIDIA L4", 23_034, 1_500)
Measured = Iterable[tuple[RunRequest, Mapping[str, float]]]


def run(index: int, **model: object) -> RunRequest:
    values = {"dim": 32, "n_layers": 1, "dk": 8, "dv": 8, **model}
    task = {"vocab_size": 64, "input_seq_len": 16, "num_kv_pairs": 2, "train_examples": 64, "val_examples": 32}
    return RunRequest(
        run=f"r{index}", architecture="gpt", task="mqar", model=values, task_values=task, artifacts=Path("artifacts")
    )


def assembled(
    resources: str, gpus: list[GpuMemory], cluster_gpus: float = 1, measured: Measured = ()
) -> tuple[Reserver, list[str]]:
    specification = specified(f"task: {{name: mqar}}\narchitectures: {{gpt: {{}}}}\nresources: {resources}\n")
    allocation, warned = allocate(specification.resources, ClusterResources(8, cluster_gpus)), list[str]()
    return make_reserver(specification, allocation, gpus, measured, no_data, warned.append), warned


def test_runs_are_packed_on_what_was_found() -> None:
    reserver, warned = assembled("{cpu: 2}", [GPU])
    assert isinstance(reserver, Packer) and not warned
    given_to = reserver.reserve(run(0))
    assert (given_to.cpus, given_to.gpus) == (2, 0.0625) and given_to.limit_mib == GPU.capacity_mib / 16


@pytest.mark.parametrize(("resources", "gpus"), [("{gpu: 0.25}", 0.25), ("{gpu: 2}", 2), ("{gpu: 0}", 0)])
def test_an_explicit_number_of_gpus_stays_what_it_is_without_a_limit(resources: str, gpus: float) -> None:
    reserver, warned = assembled(resources, [GPU], cluster_gpus=2)
    assert isinstance(reserver, FixedReserver) and not warned
    assert reserver.reserve(run(0)) == Reservation(1, gpus, None, None)


def test_without_gpus_there_is_nothing_to_pack() -> None:
    reserver, warned = assembled("{}", [], cluster_gpus=0)
    assert reserver.reserve(run(0)) == Reservation(1, 0) and not warned


def test_where_memory_cannot_be_asked_each_run_gets_a_gpu_and_it_is_said() -> None:
    reserver, (warned,) = assembled("{}", [])
    assert reserver.reserve(run(0)) == Reservation(1, 1)
    assert "cannot be asked" in warned and "`resources.gpu_memory_mib`" in warned


def test_what_is_stated_packs_without_being_asked() -> None:
    reserver, warned = assembled("{gpu_memory_mib: 8000}", [])
    assert reserver.reserve(run(0)).limit_mib == 8000 / 6 and not warned


def test_a_filled_gpu_is_named() -> None:
    reserver, (warned,) = assembled("{}", [GPU, FILLED], cluster_gpus=2)
    assert isinstance(reserver, Packer) and "GPU-b (NVIDIA L4) on node node-2 is left alone" in warned
    reserver, warnings = assembled("{}", [FILLED])
    assert isinstance(reserver, FixedReserver) and len(warnings) == 2 and "others have not filled" in warnings[1]


def test_what_earlier_processes_measured_is_known() -> None:
    measured = [(run(index), told(1500.0, 400.0)) for index in range(2 * WINDOW)]
    fresh, _ = assembled("{}", [GPU])
    resumed, _ = assembled("{}", [GPU], measured=measured)
    assert resumed.reserve(run(-1)).predicted_mib == pytest.approx(1900, rel=0.02)
    assert resumed.reserve(run(-1)).gpus > fresh.reserve(run(-1)).gpus


def test_of_a_long_record_the_latest_runs_alone_are_predicted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[str] = []
    monkeypatch.setattr(Packer, "learn", lambda self, request, metrics: learnt.append(request.run))
    record = [(run(index), told(1500.0) if index % 2 else {"val/loss": 1.0}) for index in range(4 * WINDOW)]
    assembled("{}", [GPU], measured=record)
    assert learnt == [f"r{index}" for index in range(2 * WINDOW + 1, 4 * WINDOW, 2)]


def test_with_its_data_a_run_is_followed_and_not_only_estimated(tmp_path: Path) -> None:
    """With the predictor as it is: a small model beside its context."""
    small, resolved = run(0), run(0).resolved()
    data = prepare_data(tmp_path, resolved.task_type, resolved.task)
    specification = specified("task: {name: mqar}\narchitectures: {gpt: {}}\n")
    allocation = allocate(specification.resources, ClusterResources(8, 1))
    followed = make_reserver(specification, allocation, [GPU], (), lambda request: data).reserve(small)
    estimated = make_reserver(specification, allocation, [GPU], (), no_data).reserve(small)
    assert followed.predicted_mib is not None and estimated.predicted_mib is not None
    assert 640 < followed.predicted_mib < estimated.predicted_mib + 100
    assert followed.gpus == 0.0625 and followed.limit_mib == pytest.approx(GPU.capacity_mib / 16)
