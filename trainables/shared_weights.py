"""The weights of a model that runs share, in the folder of the stage that made it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

WEIGHTS, METRICS = "model.safetensors", "metrics.json"


def write_weights(folder: Path, module: nn.Module, metrics: Mapping[str, float]) -> None:
    """Writes ``model.safetensors`` with the state of ``module``, and ``metrics.json``."""
    # Clones, as tied tables share their memory, which safetensors refuses.
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    _safetensors().save_file(state, folder / WEIGHTS)
    (folder / METRICS).write_text(json.dumps(dict(metrics), indent=1, sort_keys=True) + "\n")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The state that :func:`write_weights` wrote, on the CPU.

    Raises:
        ValueError: it is missing or unreadable.
    """
    try:
        state: dict[str, Tensor] = _safetensors().load_file(folder / WEIGHTS)
    except Exception as error:  # of safetensors, whose exceptions have no common base
        raise ValueError(_unfit(folder, error)) from error
    return state


def load_weights(module: nn.Module, folder: Path) -> None:
    """Loads what :func:`write_weights` wrote, onto the module's device.

    Raises:
        ValueError: it is missing, unreadable or of another module.
    """
    state = read_weights(folder)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(_unfit(folder, error)) from error


def _unfit(folder: Path, error: Exception) -> str:
    return f"{folder / WEIGHTS} does not hold the base of this run: {error}; remove {folder}, and it will be made again"


def _safetensors() -> Any:
    """Imported here, as architectures without a base run where it is not installed."""
    try:
        return importlib.import_module("safetensors.torch")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the weights of a base need the package safetensors: pip install safetensors") from error
