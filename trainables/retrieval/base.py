"""The base model of a retrieval model: described by a mapping, trained or copied once, frozen ever after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import nn

from trainables.architecture import Architecture
from trainables.columns import by_row, counts_by_row
from trainables.configuration import Configuration, ConfigurationError, Rule
from trainables.counts import ParameterCounts
from trainables.pretrained.backbone import backbone_stage
from trainables.retrieval.base_fields import BASE, base_model
from trainables.shared_training import training_stage
from trainables.stages import Stage
from trainables.task import Task

if TYPE_CHECKING:
    from trainables.training.request import RunRequest

DEFAULT_BASE = {"architecture": "gpt", "use_ffn": True}
BASE_MEANING = (
    "the base model: an architecture with its fields, training and seed, trained once and shared by all runs with the same base; "
    "or a backbone, the folder of a causal language model of Hugging Face transformers"
)


@dataclass(frozen=True)
class BaseSpecification:
    """What a mapping ``base`` says: an architecture to train, or the ``config`` of a pretrained model."""

    architecture: Architecture | None = None
    model: Configuration | None = None
    training: Mapping[str, Any] | None = None
    seed: int = 0
    backbone: str | None = None
    config: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, base: Mapping[str, Any]) -> BaseSpecification:
        """Raises ConfigurationError for a mapping that does not describe a base model."""
        if "backbone" not in base:
            architecture, model = base_model(base)
            return cls(architecture, model, dict(base.get("training", {})), base.get("seed", 0))
        if "config" not in base:
            problem = "its configuration is missing: name the folder in a search space, or give its config.json as config"
            raise ConfigurationError([("base.backbone", problem)])
        return cls(backbone=base["backbone"], config=base["config"])

    @property
    def width(self) -> int:
        """Numbers of a key."""
        if self.config is None:
            return int(self.model.dim)  # type: ignore[union-attr]
        from trainables.pretrained.keys import key_width

        return key_width(self.config)

    def fits(self, task: Any) -> bool:
        """Whether it can model the task's tokens in the task's windows."""
        if self.config is None:
            assert self.architecture is not None
            return all(bool(rule.holds(self.model, task)) for rule in self.architecture.pair_rules)
        from trainables.pretrained.tokenizer import tokenizer_problem

        return tokenizer_problem(self.config, task.vocab_size, task.input_seq_len) is None

    def counts(self, task: Any) -> ParameterCounts:
        if self.config is None:
            assert self.architecture is not None
            counts = self.architecture.count(self.model, task)
        else:
            from trainables.pretrained.model import pretrained_counts

            counts = pretrained_counts(self.config)
        return replace(counts, frozen=counts.total)

    def activation_elements(self, task: Any) -> Any:
        if self.config is None:
            assert self.architecture is not None
            return self.architecture.activation_elements(self.model, task)
        # Of a frozen model nothing is kept but what one layer reads and gives, and the logits.
        return task.input_seq_len * (2 * self.width + task.vocab_size)

    def values(self, task_type: type[Task], task: Configuration) -> dict[str, Any]:
        """What decides its weights."""
        if self.backbone is not None:
            return dict(BASE.identity({"backbone": self.backbone}))
        run = self.request(task_type, task).resolved().identity_values()
        return {**run, "seed": self.seed, "data": task_type.data_values(task)}

    def request(self, task_type: type[Task], task: Configuration) -> RunRequest:
        """The run that trains it, without its folders."""
        from trainables.training.request import RunRequest

        assert self.architecture is not None and self.model is not None
        return RunRequest(
            run="base",
            architecture=self.architecture.name,
            task=task_type.name,
            model=self.model.to_values(),
            task_values=task.to_values(),
            training=self.training or {},
            seed=self.seed,
            artifacts=Path(),
        )


def base_counts(base: Any, task: Any) -> ParameterCounts:
    """Closed form, all of it frozen; ``base`` may be a column of mappings, and fields of ``task`` columns."""
    return counts_by_row(lambda row, of_task: BaseSpecification.of(row).counts(of_task), base, task)


def base_activation_elements(base: Any, task: Any) -> Any:
    """Elements that the base would keep for the backward pass of one example; columns as in :func:`base_counts`."""
    return by_row(lambda row, of_task: BaseSpecification.of(row).activation_elements(of_task), base, task)


def base_width(base: Any) -> Any:
    """Numbers of a key; columns as in :func:`base_counts`."""
    return by_row(lambda row, _: BaseSpecification.of(row).width, base, SimpleNamespace())


base_pair_rules: tuple[Rule, ...] = (
    Rule(
        lambda model, task: by_row(lambda base, of_task: BaseSpecification.of(base).fits(of_task), model.base, task),
        "the base does not fit the task: take a base whose vocabulary has the task's tokens (vocab_size) and whose positions "
        "reach over its windows (input_seq_len), and which meets its architecture's own rules",
    ),
)
"""Of every architecture around a base."""


def inspect_base(model: Any, task: Any) -> None:
    """Says exactly what keeps a pretrained base from the task, where :data:`base_pair_rules` say that something does.

    Raises:
        ConfigurationError: its vocabulary or its positions are not the task's.
    """
    from trainables.pretrained.tokenizer import tokenizer_problem

    config = model.base.get("config")
    problem = None if config is None else tokenizer_problem(config, task.vocab_size, task.input_seq_len)
    if problem is not None:
        raise ConfigurationError([("base.backbone", problem)])


def build_base(base: Mapping[str, Any], task: Any) -> nn.Module:
    """The untrained module, which has ``hidden_states``, ``output_head``, ``blocks`` and ``embedding``."""
    specification = BaseSpecification.of(base)
    if specification.architecture is not None:
        return specification.architecture.build(specification.model, task)
    from trainables.pretrained.model import PretrainedLanguageModel

    return PretrainedLanguageModel(specification.config or {})


def base_stage(base: Mapping[str, Any], task_type: type[Task], task: Configuration) -> Stage:
    """The stage ``base``: ``model.safetensors``, and in ``metrics.json`` what the base's run measured last.

    A backbone is copied, so it has measured nothing, and it is the driver that copies it, from where it lies.
    """
    specification = BaseSpecification.of(base)
    if specification.backbone is not None and specification.config is not None:
        return backbone_stage(specification.backbone, specification.config)
    assert specification.architecture is not None
    values = specification.values(task_type, task)
    request = specification.request(task_type, task)
    return training_stage(f"base model {specification.architecture.name}", values, request)
