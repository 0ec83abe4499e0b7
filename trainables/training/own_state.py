"""The part of a module's state that belongs to its run, and not to what runs share."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def own_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state without what comes from stages: the names that begin with one of ``module.prepared_prefixes``."""
    prefixes: tuple[str, ...] = getattr(module, "prepared_prefixes", ())
    return {name: value for name, value in module.state_dict().items() if not name.startswith(prefixes)}


def load_own_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads what :func:`own_state` gave; what runs share stays as it is.

    Raises:
        RuntimeError: a name is missing, unknown, or of another shape.
    """
    missing = set(own_state(module)) ^ set(state)
    if missing:
        raise RuntimeError(f"the state has other names: {', '.join(sorted(missing))}")
    module.load_state_dict(state, strict=False)
