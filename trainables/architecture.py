"""What an architecture is to the rest of the product: a name, a typed configuration, a module and its closed-form counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from trainables.configuration import Configuration, Rule
from trainables.counts import ParameterCounts

if TYPE_CHECKING:
    from trainables.stages import Stage

DataKind = str
"""What flows between a task and a module: ``tokens`` (integers in, logits out) or ``series`` (real numbers)."""


def _no_stages(model: Any, task_type: Any, task: Any) -> Sequence[Stage]:
    """Most architectures share nothing but data."""
    return ()


def _nothing_outside(model: Any, task: Any) -> None:
    """Most architectures have nothing outside their configuration."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One registered architecture. Functions take (model configuration, task configuration).

    ``count`` and ``activation_elements`` are closed forms. Their arguments may be plain namespaces whose fields are NumPy
    arrays (one element a candidate structure), so they use arithmetic only: no ``if`` on a field, no ``max``; a flag multiplies.
    A property test holds ``count`` to the built module.
    """

    name: str
    summary: str
    kind: DataKind
    configuration: type[Configuration]
    build: Callable[[Any, Any], nn.Module]
    count: Callable[[Any, Any], ParameterCounts]
    activation_elements: Callable[[Any, Any], Any]
    """Elements kept for the backward pass of one example, for the memory estimate."""
    pair_rules: tuple[Rule, ...] = ()
    """Rules over (model, task)."""
    tasks: tuple[str, ...] | None = None
    """Names of the tasks that it runs on; None: all that give its kind of data."""
    evaluation_only: bool = False
    """Whether there is nothing to train: the epochs of its runs are 0."""
    stages: Callable[[Any, Any, Any], Sequence[Stage]] = _no_stages
    """From (model, task type, task) the stages that its runs share, in the order in which they are made."""
    inspect: Callable[[Any, Any], None] = _nothing_outside
    """Looks at what lies outside (model, task), such as folders, before anything starts; raises ConfigurationError."""

    def fits(self, task_name: str, kind: DataKind) -> bool:
        """Whether it runs on the task of that name, which gives data of that kind."""
        return kind == self.kind and (self.tasks is None or task_name in self.tasks)


_ARCHITECTURES: dict[str, Architecture] = {}


def register_architecture(
    name: str,
    *,
    configuration: type[Configuration],
    kind: DataKind,
    pair_rules: tuple[Rule, ...] = (),
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Registers the decorated module class, built as ``cls(model, task)``.

    The class offers two static methods, ``count(model, task) -> ParameterCounts`` and
    ``activation_elements(model, task)``; the first line of its docstring is the summary shown by ``memsweep list``. It may
    offer the static methods ``stages`` and ``inspect`` and the attributes ``tasks`` and ``evaluation_only`` besides.
    """

    def register(cls: type[nn.Module]) -> type[nn.Module]:
        if name in _ARCHITECTURES:
            raise ValueError(f"architecture {name!r} is registered twice")
        _ARCHITECTURES[name] = Architecture(
            name=name,
            summary=(cls.__doc__ or "").strip().split("\n")[0],
            kind=kind,
            configuration=configuration,
            build=cls,
            count=cls.count,  # type: ignore[attr-defined]
            activation_elements=cls.activation_elements,  # type: ignore[attr-defined]
            pair_rules=pair_rules,
            tasks=getattr(cls, "tasks", None),
            evaluation_only=getattr(cls, "evaluation_only", False),
            stages=getattr(cls, "stages", _no_stages),
            inspect=getattr(cls, "inspect", _nothing_outside),
        )
        return cls

    return register


def registered_architectures() -> dict[str, Architecture]:
    return _ARCHITECTURES
