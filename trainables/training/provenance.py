"""What the numbers of a run come from, besides its request: the code, the data, the versions and the machine."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from trainables.prepared import data_digest

_PACKAGE = Path(__file__).parents[1]


def provenance(prepared: Path | None, device: torch.device, stages: Mapping[str, Path] | None = None) -> dict[str, str]:
    """Texts under ``memsweep``, ``code``, ``data``, ``torch``, ``python``, ``device`` and ``threads``, and where a run shares
    stages with others ``stages``: the names of their folders, with spaces between.

    ``memsweep`` is its version, "" where it runs without being installed; ``code`` is :func:`code_digest`; ``data`` is
    :func:`trainables.prepared.data_digest` of the folder ``prepared``, "" without one.
    """
    return {
        "memsweep": _version(),
        "code": code_digest(_PACKAGE),
        "data": "" if prepared is None else data_digest(prepared),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": str(torch.get_num_threads()),
        **({"stages": " ".join(folder.name for folder in stages.values())} if stages else {}),
    }


@functools.cache
def code_digest(package: Path) -> str:
    """16 hexadecimal digits over names and contents of all Python sources beneath ``package``, read once a process."""
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py")):
        content = (package / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("memsweep")
    except importlib.metadata.PackageNotFoundError:
        return ""
