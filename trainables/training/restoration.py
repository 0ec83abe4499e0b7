"""Whether a state that was read fits a session, asked before anything of the session is changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainables.training.own_state import own_state

_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
"""What Adam and AdamW keep for a parameter."""
_SOLVED = {"solved_epoch", "time/to_target_s"}


def require_module_fits(found: Any, module: nn.Module) -> None:
    """Raises ValueError unless ``found`` has the names, shapes and types of the module's own state."""
    wanted = own_state(module)
    if not isinstance(found, Mapping) or set(found) != set(wanted):
        raise ValueError("the module's state has other names")
    for name, value in wanted.items():
        _require_like(name, found[name], value)


def require_moments_fit(found: Any, parameters: Sequence[nn.Parameter]) -> None:
    """Raises ValueError unless ``found``, by the number of a parameter, holds moments in the shape of that parameter."""
    if not isinstance(found, Mapping) or not set(found) <= set(range(len(parameters))):
        raise ValueError("the optimiser's state is of other parameters")
    for index, moments in found.items():
        if not isinstance(moments, Mapping) or set(moments) != _MOMENTS:
            raise ValueError(f"the optimiser's state of parameter {index} has other names")
        _require_like(f"step of parameter {index}", moments["step"], torch.zeros(()))
        for name in ("exp_avg", "exp_avg_sq"):
            _require_like(f"{name} of parameter {index}", moments[name], parameters[index])


def require_generator_state(found: Any, device: torch.device | None = None) -> None:
    """Raises TypeError or RuntimeError unless a generator of ``device`` (default: the CPU) can go on from ``found``."""
    torch.Generator(device or torch.device("cpu")).set_state(found)


def require_bookkeeping(state: Mapping[str, Any], last_epoch: int) -> None:
    """Raises ValueError unless the plain values of a training session's state are of their types and finite."""
    epoch, solved, seconds = state["epoch"], state["solved"], state["seconds"]
    if type(epoch) is not int or not 0 <= epoch <= last_epoch:
        raise ValueError(f"its epoch is {epoch!r}, not a number from 0 to {last_epoch}")
    if not (_is_numbers(solved) and set(solved) in (set(), _SOLVED)):
        raise ValueError("when the target was reached is unreadable")
    if not (_is_numbers(seconds) and set(seconds) == {"train", "total"}):
        raise ValueError("its seconds are unreadable")
    if not (_is_numbers(state["metrics"]) and (state["best"] is None or _is_number(state["best"]))):
        raise ValueError("its metrics are unreadable")
    if not isinstance(state["improved"], bool):
        raise ValueError("whether it improved is unreadable")


def _require_like(name: str, found: Any, wanted: Any) -> None:
    if not isinstance(wanted, Tensor):
        if type(found) is not type(wanted):
            raise ValueError(f"{name} is no {type(wanted).__name__}")
        return
    if not isinstance(found, Tensor) or (found.device.type, found.layout) != ("cpu", torch.strided):
        raise ValueError(f"{name} is no plain tensor")
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        raise ValueError(f"{name} is {list(found.shape)} {found.dtype}, not {list(wanted.shape)} {wanted.dtype}")


def _is_numbers(found: Any) -> bool:
    return isinstance(found, Mapping) and all(isinstance(name, str) and _is_number(value) for name, value in found.items())


def _is_number(found: Any) -> bool:
    return type(found) in (int, float) and math.isfinite(found)
