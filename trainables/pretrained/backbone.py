"""A backbone: the pretrained model that an architecture is made of, or its shape with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.columns import by_row
from trainables.configuration import Configuration, ConfigurationError, Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.files import identity, split_reference
from trainables.pretrained.backbone_fields import BACKBONE, BACKBONE_MEANING
from trainables.pretrained.backbone_names import backbone_name
from trainables.pretrained.pretraining import inspect_pretraining, pretraining_stage
from trainables.pretrained.shapes import SHAPES
from trainables.pretrained.tokenizer import tokenizer_problem
from trainables.sequence_length import length_field, sequence_length
from trainables.shared_training import STAGE
from trainables.shared_weights import write_weights
from trainables.stages import Stage, StageContext
from trainables.task import Task


@dataclass(frozen=True, kw_only=True)
class BackboneConfiguration(Configuration):
    """What every architecture around a pretrained model has."""

    backbone: str | dict[str, Any] = hyperparameter("qwen2-0.5b", BACKBONE_MEANING, names=tuple(SHAPES), nested=BACKBONE)


@dataclass(frozen=True)
class Backbone:
    """What a value of the field says."""

    config: Mapping[str, Any]
    folder: str | None = None
    """The reference to the folder with the weights, where there is one."""
    pretraining: Mapping[str, Any] | None = None
    """How they are trained here, where they are. With neither they are random."""

    @classmethod
    def of(cls, value: Any) -> Backbone:
        """From the name of a shape, or a mapping as the field's configuration holds it."""
        if isinstance(value, str):
            return cls(SHAPES[value])
        return cls(value["config"], value.get("folder"), value.get("pretraining"))

    @property
    def shares_weights(self) -> bool:
        """Whether the weights come from a stage; else they are drawn from torch's global generator."""
        return self.folder is not None or self.pretraining is not None

    def counts(self) -> ParameterCounts:
        """Exact, nothing frozen."""
        from trainables.pretrained.model import pretrained_counts

        return pretrained_counts(self.config)

    def problem_with(self, task: Any, *, reads_whole: bool = True) -> str | None:
        """What keeps it from a task; its positions matter where the model ``reads_whole`` sequences at once."""
        # What measures memory takes tokens of the model's own.
        vocab_size = None if hasattr(task, "n_tokens") else task.vocab_size
        length, field = (sequence_length(task), length_field(task)) if reads_whole else (None, "")
        return tokenizer_problem(self.config, vocab_size, length, trained=self.folder is not None, field=field)

    def stages(self, task_type: type[Task], task: Configuration) -> tuple[Stage, ...]:
        """The copy of a folder's weights, or their training."""
        if self.folder is not None:
            return (backbone_stage(self.folder, self.config),)
        if self.pretraining is not None:
            return (pretraining_stage(backbone_name({"config": self.config}), self.config, self.pretraining, task_type, task),)
        return ()


def backbone_stage(reference: str, config: Mapping[str, Any]) -> Stage:
    """Copies the weights of the folder ``reference`` to where workers find them; the driver does it, from where they lie."""
    title = f"base model {split_reference(reference)[0]}"
    return Stage(STAGE, title, {"backbone": identity(reference)}, _copying(reference, config), reads_files=True)


def _copying(reference: str, config: Mapping[str, Any]) -> Callable[[Path, StageContext], None]:
    def make(folder: Path, context: StageContext) -> None:
        from trainables.pretrained.model import PretrainedLanguageModel
        from trainables.pretrained.weights import load_pretrained

        if reference not in context.files:
            raise FileNotFoundError(f"the folder of {reference} is not known here: it is the driver that copies a backbone")
        module = PretrainedLanguageModel(config)
        load_pretrained(module, context.files[reference])
        write_weights(folder, module, {})

    return make


def backbone_rule(*, reads_whole: bool = True) -> Rule:
    """That a backbone fits its task (see :meth:`Backbone.problem_with`)."""

    def fits(value: Any, task: Any) -> bool:
        return Backbone.of(value).problem_with(task, reads_whole=reads_whole) is None

    return Rule(
        lambda model, task: by_row(fits, model.backbone, task),
        "the backbone does not fit the task: take one whose vocabulary has the task's tokens (vocab_size) and whose positions "
        "reach over its sequences",
    )


def inspect_backbone(model: Any, task: Any, *, reads_whole: bool = True) -> None:
    """Says exactly what :func:`backbone_rule` has against a pair.

    Raises:
        ConfigurationError: the model's vocabulary or its positions are not the task's.
    """
    backbone = Backbone.of(model.backbone)
    problem = backbone.problem_with(task, reads_whole=reads_whole)
    if problem is not None:
        raise ConfigurationError([("backbone", problem)])
    if backbone.pretraining is not None:
        inspect_pretraining(backbone.config, backbone.pretraining, task)
