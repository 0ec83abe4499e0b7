"""What adapters cost, in closed form: parameters, and what is kept for the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trainables.columns import by_row, counts_by_row
from trainables.counts import ParameterCounts
from trainables.pretrained.backbone import Backbone
from trainables.pretrained.lora.rows import for_each_row
from trainables.pretrained.lora.targets import targets_of
from trainables.pretrained.sizes import ModelSizes, model_sizes
from trainables.sequence_length import sequence_length


def lora_counts(model: Any, task: Any, defaults: Sequence[str]) -> ParameterCounts:
    """Exact: those of the backbone, frozen, and r (in + out) for each target; quantised matrices count as what they stand for.

    Fields may be columns.
    """
    base = counts_by_row(lambda value, _: Backbone.of(value).counts(), model.backbone, task)
    widths, _, _ = _of_targets(model, defaults)
    return replace(base, block=base.block + model.lora_r * widths, frozen=base.total)


def lora_activations(model: Any, task: Any, defaults: Sequence[str]) -> Any:
    """Elements kept of a sequence; fields may be columns. An estimate, since each model has its own layers.

    Of a target its input behind the dropout, the dropout's mask, and the r channels in its middle.
    """
    backbone = by_row(lambda value, _: _backbone_activations(model_sizes(Backbone.of(value).config)), model.backbone, task)
    _, inputs, number = _of_targets(model, defaults)
    of_targets = inputs * (1 + (model.dropout > 0)) + model.lora_r * number
    return sequence_length(task) * (backbone + of_targets)


def _of_targets(model: Any, defaults: Sequence[str]) -> tuple[Any, Any, Any]:
    """What rank 1 costs, the widths of all inputs, and the number of targets; columns where fields are."""

    def numbers(backbone: Any, wanted: Sequence[str] | None) -> tuple[int, int, int]:
        found = targets_of(backbone, wanted, defaults)
        return found.widths, found.inputs, len(found.names)

    counted = for_each_row(numbers, model.backbone, model.target_modules)
    return counted if isinstance(counted, tuple) else tuple(counted.T)


def _backbone_activations(sizes: ModelSizes) -> int:
    """Elements kept of a token by layers whose matrices are frozen, with a fused attention.

    A frozen matrix keeps nothing of what it reads. Of a block: the inputs of both norms, rotated queries and keys, values, the
    mixture of the heads, and what the activation of the feed-forward layer and its product are made of. Besides: the input of
    the final norm, the logits, and their logarithm.
    """
    attention = (2 * sizes.heads + 2 * sizes.key_heads) * sizes.head_width
    block = 2 * sizes.width + attention + (3 if sizes.gated else 4) * sizes.inner
    return sizes.layers * block + sizes.width + 2 * sizes.vocabulary
