"""All measured memory of one run under the names by which it is recorded."""

from __future__ import annotations

import gc
from types import TracebackType
from typing import Self

import torch

from trainables.memory import cuda
from trainables.memory.host import HostMemory
from trainables.memory.nvml import open_device
from trainables.memory.sampler import NvmlSampler


class MemoryMonitor:
    """Measures one run at a time, from :meth:`start` to :meth:`stop`; a process that is reused starts it again.

    Also a context manager. Only on a CUDA ``device`` are there ``vram/*`` metrics.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._host = HostMemory()
        self._sampler: NvmlSampler | None = None
        self._running = False
        self._last: dict[str, float] = {}

    def start(self) -> None:
        """Ends what ran before, frees what it left behind, restarts all peaks and begins to measure."""
        self.stop()
        gc.collect()
        if self._device.type == "cuda":
            cuda.reset_peaks(self._device)
            nvml_device = open_device(cuda.device_uuids(self._device))
            self._sampler = NvmlSampler(nvml_device) if nvml_device else None
        if self._sampler:
            self._sampler.start()
        self._host.start()
        self._running = True

    def metrics(self) -> dict[str, float]:
        """The peaks since :meth:`start` in MiB, those of the whole run after :meth:`stop`; what is unknown is absent."""
        if self._running:
            self._last = self._host.metrics() | self._vram()
        return dict(self._last)

    def stop(self) -> None:
        """Keeps the last metrics and ends the sampling; nothing happens where nothing runs."""
        if not self._running:
            return
        self.metrics()
        self._running = False
        if self._sampler:
            self._sampler.stop()
            self._sampler = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _vram(self) -> dict[str, float]:
        if self._device.type != "cuda":
            return {}
        peaks = cuda.read_peaks(self._device)
        sampled = self._sampler.metrics(peaks["vram/peak_reserved_mib"]) if self._sampler else {}
        return peaks | sampled
