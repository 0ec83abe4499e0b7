"""What torch says when a GPU has no memory left, in texts: an exception may have led to others by the time that it is seen."""

from __future__ import annotations

import re

_OF_THE_DEVICE = re.compile(
    r"(?:CUDA|HIP) out of memory|(?:CUDA|HIP) error: out of memory|CU\w+_STATUS_ALLOC_FAILED|[Ee]rrorMemoryAllocation"
    r"|CUDA driver error: out of memory|hipErrorOutOfMemory"
)
_REFUSED = re.compile(r"out of memory\. Tried to allocate (?P<number>\d+(?:\.\d+)?) (?P<unit>bytes|KiB|MiB|GiB)")
_UNIT_MIB = {"bytes": 2**-20, "KiB": 2**-10, "MiB": 1.0, "GiB": 1024.0}


def is_of_the_device(text: str) -> bool:
    """Whether a GPU, and not the host, had no memory left: torch's allocator, the driver or one of its libraries says so."""
    return _OF_THE_DEVICE.search(text) is not None


def refused_mib(text: str) -> float | None:
    """The allocation, in MiB, that torch's allocator refused last; None where no text says how large it was.

    Texts have two digits behind the point: half of the last one is added, so that it is never too little.
    """
    told = list(_REFUSED.finditer(text))
    if not told:
        return None
    number, unit = told[-1]["number"], told[-1]["unit"]
    rounding = 0.0 if unit == "bytes" else 0.005
    return (float(number) + rounding) * _UNIT_MIB[unit]
