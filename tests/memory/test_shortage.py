"""What torch and the driver say when a GPU is full, as they say it, and what is read from it."""

from __future__ import annotations

import pytest

from trainables.memory.shortage import is_of_the_device, refused_mib

PLAIN = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 1.06 GiB is free. "
    "Process 12345 has 78.09 GiB memory in use. Of the allocated memory 70.00 GiB is allocated by PyTorch, and 1.50 GiB is "
    "reserved by PyTorch but unallocated."
)
LIMITED = (
    "CUDA out of memory. Tried to allocate 996.00 MiB. GPU 0 has a total capacity of 44.43 GiB of which 9.06 GiB is free. "
    "Process 21 has 17.54 GiB memory in use. Including non-PyTorch memory, this process has 17.81 GiB memory in use. 17.69 GiB "
    "allowed; Of the allocated memory 17.44 GiB is allocated by PyTorch, with 12.00 MiB allocated in private pools (e.g., CUDA "
    "Graphs), and 59.88 MiB is reserved by PyTorch but unallocated."
)


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        (PLAIN, 2.005 * 1024),
        (LIMITED, 996.005),
        ("CUDA out of memory. Tried to allocate 512.00 KiB. GPU 0 has", 512.005 / 1024),
        ("CUDA out of memory. Tried to allocate 512 bytes. GPU 0 has", 512 / 2**20),
        (PLAIN.replace("CUDA", "HIP"), 2.005 * 1024),
        (f"torch.OutOfMemoryError: {LIMITED}\n\nDuring handling ...\n\ntorch.OutOfMemoryError: {PLAIN}", 2.005 * 1024),
    ],
)
def test_the_refused_allocation_is_read_in_mib_and_never_too_small(text: str, mib: float) -> None:
    assert is_of_the_device(text) and refused_mib(text) == pytest.approx(mib, rel=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "RuntimeError: CUDA driver error: out of memory",
        "torch.AcceleratorError: CUDA error: out of memory",
        "torch.OutOfMemoryError: CUDA out of memory",
    ],
)
def test_libraries_and_the_driver_do_not_say_how_much(text: str) -> None:
    assert is_of_the_device(text) and refused_mib(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "MemoryError: Unable to allocate 4.00 EiB for an array",
        "RuntimeError: [alloc_cpu.cpp:128] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
        "RuntimeError: DataLoader worker is killed by signal: Bus error. workers are out of shared memory.",
        "OSError: [Errno 12] Cannot allocate memory",
    ],
)
def test_a_host_without_memory_is_not_the_gpu(text: str) -> None:
    assert not is_of_the_device(text) and refused_mib(text) is None
