"""The mapping ``pretraining`` beside the configuration of a backbone: trained here, once, before the runs that share it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.configuration import Configuration, ConfigurationError, Hyperparameter
from trainables.nested_values import converted_fields
from trainables.shared_training import training_stage
from trainables.stages import Stage
from trainables.task import Task
from trainables.training.configuration import TrainingConfiguration

if TYPE_CHECKING:
    from trainables.training.request import RunRequest

_NAME = "pretraining"
_TRAINING = "training"
_ARCHITECTURE = "causal_lm"


class PretrainingFields:
    """``{task: {…}, training: {…}, seed: 0}``: what differs from the task of the runs, how it is trained, and its seed."""

    def fields(self) -> dict[str, Hyperparameter]:
        """By dotted name, as they stand in a backbone."""
        task = Hyperparameter(
            name="task", type=dict, default={}, meaning="fields of the task that differ in the pretraining, such as its seed"
        )
        seed = Hyperparameter(name="seed", type=int, default=0, meaning="seed of the pretrained weights and batches", minimum=0)
        training = TrainingConfiguration.hyperparameters().items()
        return {
            f"{_NAME}.task": task,
            **{f"{_NAME}.{_TRAINING}.{name}": field for name, field in training},
            f"{_NAME}.seed": seed,
        }

    def read(self, values: Any) -> dict[str, Any]:
        """In final types, all three parts; raises ConfigurationError as for a backbone."""
        if not isinstance(values, Mapping) or not isinstance(values.get(_TRAINING, {}), Mapping):
            raise ConfigurationError([(_NAME, f"expected {{task: {{…}}, training: {{…}}, seed: 0}}, got {values!r}")])
        inner = {f"{_NAME}.{_TRAINING}.{name}": value for name, value in values.get(_TRAINING, {}).items()}
        outer = {f"{_NAME}.{name}": value for name, value in values.items() if name != _TRAINING}
        flat = converted_fields({**inner, **outer}, self.fields())
        start = f"{_NAME}.{_TRAINING}."
        training = {name.removeprefix(start): value for name, value in flat.items() if name.startswith(start)}
        return {"task": flat.get(f"{_NAME}.task", {}), _TRAINING: training, "seed": flat.get(f"{_NAME}.seed", 0)}


PRETRAINING = PretrainingFields()


def pretraining_stage(
    name: str, config: Mapping[str, Any], pretraining: Mapping[str, Any], task_type: type[Task], task: Configuration
) -> Stage:
    """The stage ``base`` that trains all of a backbone; ``name`` is what people call it."""
    request = _request(config, pretraining, task_type, task)
    resolved = request.resolved()
    values = {
        **resolved.identity_values(),
        "seed": request.seed,
        "data": task_type.data_values(resolved.task),
    }
    return training_stage(f"pretrained {name}", values, request)


def inspect_pretraining(config: Mapping[str, Any], pretraining: Mapping[str, Any], task: Configuration) -> None:
    """Says what keeps a backbone from its pretraining.

    Raises:
        ConfigurationError: values that are none of the task's, or a task that does not fit.
    """
    from trainables import registry

    task_type = next(found for found in registry.tasks().values() if found.configuration_type is type(task))
    if not task_type.trains:
        raise ConfigurationError(
            [("backbone.pretraining", f"means nothing to {task_type.name}, which trains nothing: take it away")]
        )
    try:
        _request(config, pretraining, task_type, task).resolved()
    except ConfigurationError as error:
        raise ConfigurationError(
            [(f"backbone.{_NAME}.task" + (f".{name}" if name else ""), text) for name, text in error.problems]
        ) from error


def _request(config: Mapping[str, Any], pretraining: Mapping[str, Any], task_type: type[Task], task: Configuration) -> RunRequest:
    from trainables.training.request import RunRequest

    return RunRequest(
        run="pretraining",
        architecture=_ARCHITECTURE,
        task=task_type.name,
        model={"backbone": {"config": dict(config)}},
        task_values={**task.to_values(), **pretraining["task"]},
        training=pretraining[_TRAINING],
        seed=pretraining["seed"],
        artifacts=Path(),
    )
