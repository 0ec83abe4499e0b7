"""Keeps the peak of a device's NVML counters, which the driver tells only as they are now."""

from __future__ import annotations

import threading

from trainables.memory.nvml import NvmlDevice


class NvmlSampler:
    """Reads a device in a background thread, from :meth:`start` to :meth:`stop`; serves one run."""

    def __init__(self, device: NvmlDevice, interval_s: float = 0.1) -> None:
        self._device = device
        self._interval_s = interval_s
        self._used_at_start: float | None = None
        self._peak_used: float | None = None
        self._peak_process: float | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_ended, name="nvml-sampler", daemon=True)

    def start(self) -> None:
        self._used_at_start = self._peak_used = self._device.used_mib()
        self.sample()
        self._thread.start()

    def sample(self) -> None:
        """Takes one reading now; safe from any thread."""
        with self._lock:
            self._peak_used = _larger(self._peak_used, self._device.used_mib())
            self._peak_process = _larger(self._peak_process, self._device.process_mib())

    def metrics(self, reserved_mib: float = 0.0) -> dict[str, float]:
        """``vram/peak_process_mib`` where it can be attributed, else ``vram/peak_device_delta_mib``, else nothing (MiB).

        ``reserved_mib`` is the allocator's own peak. A process peak below it belongs to another process, which has our id in
        its namespace, or was missed between two readings.
        """
        self.sample()
        if self._peak_process is not None and self._peak_process >= reserved_mib:
            return {"vram/peak_process_mib": self._peak_process}
        if self._peak_used is not None and self._used_at_start is not None:
            return {"vram/peak_device_delta_mib": self._peak_used - self._used_at_start}
        return {}

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self._device.close()

    def _sample_until_ended(self) -> None:
        while not self._ended.wait(self._interval_s):
            self.sample()


def _larger(known: float | None, seen: float | None) -> float | None:
    return max((value for value in (known, seen) if value is not None), default=None)
