"""Peak resident memory of this process, from the kernel's own high-water mark (Linux, proc(5): VmHWM, clear_refs)."""

from __future__ import annotations

import os
from pathlib import Path

_RESET_HIGH_WATER_MARK = b"5"


class HostMemory:
    """Measures the resident memory of this process between :meth:`start` and :meth:`metrics`.

    Where the kernel refuses to reset the high-water mark, the mark is this run's own peak only if the run raised it, and is left
    out otherwise: sampling would miss short peaks. Off Linux nothing is known.
    """

    def __init__(self, process_folder: Path = Path("/proc/self")) -> None:
        self._folder = process_folder
        self._was_reset = False
        self._at_start: dict[str, float] = {}

    def start(self) -> None:
        """Resets the high-water mark and reads the baseline."""
        self._was_reset = _reset_high_water_mark(self._folder / "clear_refs")
        self._at_start = _read_resident_mib(self._folder / "status")

    def metrics(self) -> dict[str, float]:
        """``memory/baseline_host_mib`` and ``memory/peak_host_mib`` in MiB; what is unknown is absent."""
        known = {}
        if "VmRSS" in self._at_start:
            known["memory/baseline_host_mib"] = self._at_start["VmRSS"]
        peak, peak_at_start = _read_resident_mib(self._folder / "status").get("VmHWM"), self._at_start.get("VmHWM")
        if peak is not None and peak_at_start is not None and (self._was_reset or peak > peak_at_start):
            known["memory/peak_host_mib"] = peak
        return known


def _reset_high_water_mark(clear_refs: Path) -> bool:
    try:
        # The file may be write-only and must not be created where it does not exist, so open() does not serve.
        descriptor = os.open(clear_refs, os.O_WRONLY)
    except OSError:
        return False
    try:
        return os.write(descriptor, _RESET_HIGH_WATER_MARK) == len(_RESET_HIGH_WATER_MARK)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _read_resident_mib(status: Path) -> dict[str, float]:
    try:
        lines = status.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines if line.startswith(("VmHWM:", "VmRSS:")))
    return {name.rstrip(":"): int(kibibytes) / 1024 for name, kibibytes, _ in fields}
