"""Peaks of PyTorch's CUDA caching allocator: exact, of this process alone, and the primary figures for VRAM."""

from __future__ import annotations

import gc
import os

import torch

from trainables.memory.arithmetic import MIB


def create_context(device: torch.device) -> None:
    """Creates the CUDA context of this process, if it has none yet."""
    torch.cuda.synchronize(device)


def reset_peaks(device: torch.device) -> None:
    """Returns the cache to the driver and restarts the peaks, so that a reused process begins at its baseline.

    Synchronising also creates the CUDA context, which every later reading of the device therefore includes.
    """
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)


def release(device: torch.device) -> None:
    """Frees what nobody refers to: garbage, the workspaces that cuBLAS keeps from its first call on, and the cache."""
    gc.collect()
    torch.cuda.synchronize(device)
    # torch has no public way; where this one is missing the workspaces stay and count as left behind, which is the safe side.
    clear_workspaces = getattr(torch._C, "_cuda_clearCublasWorkspaces", None)
    if clear_workspaces is not None:
        clear_workspaces()
    torch.cuda.empty_cache()


def allocated_mib(device: torch.device) -> float:
    """MiB in tensors now."""
    return torch.cuda.memory_allocated(device) / MIB


def reserved_mib(device: torch.device) -> float:
    """MiB taken from the driver now."""
    return torch.cuda.memory_reserved(device) / MIB


def peak_reserved_mib(device: torch.device) -> float:
    """Most MiB taken from the driver at once since :func:`reset_peaks`."""
    return torch.cuda.max_memory_reserved(device) / MIB


def set_limit(device: torch.device, mib: float) -> None:
    """From now on the allocator of this process refuses to take more than ``mib`` MiB; nothing at all where that is negative.

    What it holds already counts, and stays even where that is more.
    """
    # The allocator takes its share of the one or the other, by the version of torch: of the larger one it is never too much.
    total = max(torch.cuda.get_device_properties(device).total_memory, torch.cuda.mem_get_info(device)[1])
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, mib * MIB / total)), device)


def lift_limit(device: torch.device) -> None:
    """The allocator may take all there is."""
    torch.cuda.set_per_process_memory_fraction(1.0, device)


def read_peaks(device: torch.device) -> dict[str, float]:
    """``vram/peak_allocated_mib`` (bytes in tensors) and ``vram/peak_reserved_mib`` (bytes taken from the driver), in MiB."""
    return {
        "vram/peak_allocated_mib": torch.cuda.max_memory_allocated(device) / MIB,
        "vram/peak_reserved_mib": peak_reserved_mib(device),
    }


def device_uuids(device: torch.device) -> list[str]:
    """The UUIDs under which NVML may know ``device``; indices are never used, because NVML ignores CUDA_VISIBLE_DEVICES."""
    index = torch.cuda.current_device() if device.index is None else device.index
    uuid = str(torch.cuda.get_device_properties(index).uuid)
    return candidate_uuids(uuid, index, os.environ.get("CUDA_VISIBLE_DEVICES", ""))


def candidate_uuids(uuid: str, index: int, visible_devices: str) -> list[str]:
    """NVML names of the CUDA device ``index`` with ``uuid``, the likeliest first.

    A MIG slice is taken from ``visible_devices``, since some CUDA versions tell the UUID of the whole GPU for it.
    """
    visible = [entry.strip() for entry in visible_devices.split(",")]
    if index < len(visible) and visible[index].startswith("MIG-"):
        return [visible[index]]
    return [f"GPU-{uuid}", f"MIG-{uuid}"]
