"""What a run leaves behind on its device, which the next run in the same process would lack."""

from __future__ import annotations

import math

import torch

from trainables.memory import cuda


class DeviceBaseline:
    """Tensors on ``device`` at the time of construction, against which :meth:`leftover_mib` compares."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = _held_mib(device)

    def leftover_mib(self) -> float:
        """MiB held now beyond what was held at first, after everything that nobody refers to was freed.

        0 on the CPU, whose memory goes back to the process; infinite where the device no longer answers.
        """
        return max(0.0, _held_mib(self._device) - self._before) if math.isfinite(self._before) else math.inf


def _held_mib(device: torch.device) -> float:
    if device.type != "cuda":
        return 0.0
    try:
        cuda.release(device)
        return cuda.allocated_mib(device)
    except Exception:  # after a fault on the device every call raises
        return math.inf
