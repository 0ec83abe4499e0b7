"""What a run was made with, then and now; and how near the figures must come for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.reproduce.recorded import RecordedRun

KEYS = ("code", "data", "torch", "device", "threads", "python", "memsweep")
ROUNDING_KEYS = ("torch", "device", "threads")
"""What decides in which order sums are added, and so their last digits."""
TOLERANCE_ELSEWHERE = 0.01


@dataclass(frozen=True)
class Origin:
    """One fact of the provenance. ``recorded`` has more than one value where the run's processes differed."""

    key: str
    recorded: tuple[str, ...]
    now: str | None

    @property
    def known(self) -> bool:
        return bool(self.recorded) and self.now is not None

    @property
    def same(self) -> bool:
        return self.recorded == (self.now,)


def compare_provenance(recorded: RecordedRun, now: Mapping[str, str]) -> list[Origin]:
    """Each fact, then and now."""
    return [Origin(key, recorded.provenance(key), now.get(key)) for key in KEYS]


def default_tolerance(origins: list[Origin]) -> float:
    """The relative difference that counts as the same figure where a person names none.

    0 on a CPU with the same torch, device and number of threads: there the same code gives the same bits, so that any
    difference is news; a change of the code, the data or Python excuses none. 0 as well where these facts were not recorded:
    what is not known excuses nothing. 1 % on a GPU, whose sums may come in any order, and where a run is known to have been
    made with another torch, device or number of threads: rounding then differs from the first step on and training amplifies
    it, so equal bits would be luck, while figures that a paper prints should still agree in their first two digits. A chaotic
    or long run can honestly need more: the largest difference is always told, whatever the tolerance.
    """
    rounding = [origin for origin in origins if origin.key in ROUNDING_KEYS]
    elsewhere = any(origin.known and not origin.same for origin in rounding)
    on_gpu = any(origin.key == "device" and origin.now not in (None, "cpu") for origin in rounding)
    return TOLERANCE_ELSEWHERE if elsewhere or on_gpu else 0.0
