"""The monitor under the recorded names: on the CPU, and on a GPU with tensors of known sizes."""

from __future__ import annotations

import sys

import pytest
import torch

from trainables.memory import MemoryMonitor

HOST_METRICS = {"memory/peak_host_mib", "memory/baseline_host_mib"}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def touch(mebibytes: int, device: str) -> None:
    """Fills and frees a tensor of float32."""
    torch.ones(mebibytes, 2**18, device=device)


def test_a_run_without_gpu_has_no_vram_metrics():
    with MemoryMonitor(torch.device("cpu")) as monitor:
        names = set(monitor.metrics())
    assert names <= HOST_METRICS
    assert sys.platform != "linux" or "memory/baseline_host_mib" in names


def test_nothing_is_known_before_the_start():
    assert MemoryMonitor(torch.device("cpu")).metrics() == {}


def test_the_metrics_of_a_stopped_run_stay():
    monitor = MemoryMonitor(torch.device("cpu"))
    monitor.start()
    monitor.stop()
    at_stop = monitor.metrics()
    touch(64, "cpu")
    monitor.stop()
    assert monitor.metrics() == at_stop


def test_a_second_start_measures_the_second_run_alone():
    monitor = MemoryMonitor(torch.device("cpu"))
    rises = []
    for mebibytes in (128, 48):
        monitor.start()
        touch(mebibytes, "cpu")
        recorded = monitor.metrics()
        if "memory/peak_host_mib" not in recorded:
            pytest.skip("this kernel does not reset the high-water mark")
        rises.append(recorded["memory/peak_host_mib"] - recorded["memory/baseline_host_mib"])
    assert rises == pytest.approx([128, 48], rel=0.05, abs=2)


def test_an_error_inside_the_run_keeps_its_metrics():
    monitor = MemoryMonitor(torch.device("cpu"))
    with pytest.raises(MemoryError), monitor:
        raise MemoryError
    assert monitor.metrics().keys() <= HOST_METRICS
    assert sys.platform != "linux" or monitor.metrics()


@pytest.mark.gpu
@needs_cuda
def test_a_tensor_of_known_size_is_measured_within_one_percent():
    with MemoryMonitor(torch.device("cuda")) as monitor:
        touch(512, "cuda")
        recorded = monitor.metrics()
    assert recorded["vram/peak_allocated_mib"] == pytest.approx(512, rel=0.01)
    assert recorded["vram/peak_reserved_mib"] == pytest.approx(512, rel=0.01)


@pytest.mark.gpu
@needs_cuda
def test_freed_memory_is_seen_again_only_as_a_higher_peak():
    with MemoryMonitor(torch.device("cuda")) as monitor:
        for mebibytes, peak in ((256, 256), (64, 256), (384, 384)):
            touch(mebibytes, "cuda")
            assert monitor.metrics()["vram/peak_allocated_mib"] == pytest.approx(peak, rel=0.01)


@pytest.mark.gpu
@needs_cuda
def test_a_reused_process_sees_only_the_bytes_of_its_second_run():
    monitor = MemoryMonitor(torch.device("cuda"))
    for mebibytes in (1024, 64):
        monitor.start()
        touch(mebibytes, "cuda")
        recorded = monitor.metrics()
        assert recorded["vram/peak_allocated_mib"] == pytest.approx(mebibytes, rel=0.01)
        assert recorded["vram/peak_reserved_mib"] == pytest.approx(mebibytes, rel=0.01)
    monitor.stop()


@pytest.mark.gpu
@needs_cuda
def test_the_driver_confirms_what_the_allocator_took():
    pytest.importorskip("pynvml")
    with MemoryMonitor(torch.device("cuda")) as monitor:
        touch(512, "cuda")
        recorded = monitor.metrics()
    sampled = recorded.get("vram/peak_process_mib", recorded.get("vram/peak_device_delta_mib"))
    if sampled is None:
        pytest.skip("this driver tells no memory")
    assert sampled >= 0.99 * 512
