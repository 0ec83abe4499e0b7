"""Which GPUs a process may use: every form of CUDA_VISIBLE_DEVICES, and drivers that do not tell everything."""

from __future__ import annotations

import sys

import pytest
from fake_nvml import Gpu, Machine

from trainables.memory.inventory import InstalledGpu, name_of_gpu, used_mib, visible_gpus

ALIKE = Machine({"GPU-aa1": Gpu(), "GPU-ab2": Gpu(), "GPU-c3": Gpu()}, slices={"MIG-9": Gpu("A MIG 1g", 1000, 10)})
UNLIKE = Machine({"GPU-1": Gpu("A"), "GPU-2": Gpu("B"), "GPU-3": Gpu("A")})


def uuids(machine: Machine, visible: str | None, **environment: str) -> list[str]:
    named = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    found = [gpu.uuid for gpu in visible_gpus({**named, **environment}, machine)]
    assert machine.users == 0, "the library is given back"
    return found


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["GPU-aa1", "GPU-ab2", "GPU-c3"]),
        ("", []),
        ("NoDevFiles", []),
        ("2", ["GPU-c3"]),
        ("2, 0", ["GPU-c3", "GPU-aa1"]),
        ("0,0", ["GPU-aa1"]),
        ("7", []),
        ("-1", []),
        ("GPU-ab2", ["GPU-ab2"]),
        ("GPU-c", ["GPU-c3"]),
        ("GPU-a", []),
        ("MIG-9", ["MIG-9"]),
        ("MIG-9,1", ["MIG-9", "GPU-ab2"]),
    ],
)
def test_gpus_are_found_by_index_uuid_beginning_and_slice(visible: str | None, expected: list[str]) -> None:
    assert uuids(ALIKE, visible) == expected


def test_an_index_among_unlike_gpus_is_certain_in_the_drivers_order_alone() -> None:
    assert uuids(UNLIKE, "1") == ["GPU-1", "GPU-2", "GPU-3"]
    assert uuids(UNLIKE, "1", CUDA_DEVICE_ORDER="PCI_BUS_ID") == ["GPU-2"]
    assert uuids(UNLIKE, "2,1,0") == ["GPU-3", "GPU-2", "GPU-1"], "all of them, whichever is which"
    assert uuids(UNLIKE, "GPU-2") == ["GPU-2"]


def test_a_gpu_is_named_by_its_uuid_or_as_it_was_called() -> None:
    assert name_of_gpu("1", {"CUDA_VISIBLE_DEVICES": "0"}, ALIKE) == "GPU-ab2"
    assert name_of_gpu("1", {}, UNLIKE) == "1"
    assert name_of_gpu("1", {}, Machine({}, without_driver=True)) == "1"


def test_each_counter_is_told_on_its_own() -> None:
    machine = Machine({"GPU-1": Gpu(b"B", 8000, None), "GPU-2": Gpu("C", 8000, 300)})
    assert visible_gpus({}, machine) == [InstalledGpu("GPU-1", "B", None, None), InstalledGpu("GPU-2", "C", 8000, 7700)]
    assert used_mib(["GPU-1", "GPU-2", "GPU-9"], machine) == {"GPU-2": 300}


def test_without_library_or_driver_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible_gpus({}, Machine({"GPU-1": Gpu()}, without_driver=True)) == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert visible_gpus({}) == [] and used_mib(["GPU-1"]) == {}
