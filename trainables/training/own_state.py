"""The part of a module's state that belongs to its run, and not to what runs share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn


def own_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state without what comes from stages.

    These are the names that begin with one of ``module.prepared_prefixes``, and those for which ``module.is_prepared(name)``.
    """
    prefixes: tuple[str, ...] = getattr(module, "prepared_prefixes", ())
    is_prepared: Callable[[str], bool] = getattr(module, "is_prepared", lambda name: False)
    found = module.state_dict().items()
    return {name: value for name, value in found if not name.startswith(prefixes) and not is_prepared(name)}


def load_own_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads what :func:`own_state` gave; what runs share stays as it is.

    Raises:
        RuntimeError: a name is missing, unknown, or of another shape.
    """
    missing = set(own_state(module)) ^ set(state)
    if missing:
        raise RuntimeError(f"the state has other names: {', '.join(sorted(missing))}")
    module.load_state_dict(state, strict=False)
