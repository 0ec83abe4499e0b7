"""Closed forms of a codebook memory: what it stores, and what its training keeps. Numbers may be NumPy arrays."""

from __future__ import annotations

from typing import Any

from trainables.counts import ParameterCounts
from trainables.layers.codebook.plan import CodebookPlan


def count_codebook_model(model: Any, task: Any, plan: CodebookPlan) -> ParameterCounts:
    """Encoder, norms and trainable codebooks count as block, the decoder as other, fixed codebooks and positions as buffers."""
    elements = sum(sum(sizes) * _width(model, sizes) for sizes in plan.levels)
    inner_norms = sum(2 * _width(model, sizes) for sizes in plan.levels[1:])
    block = (
        (task.channels + 1) * model.dim
        + plan.first_norm * 2 * _width(model, plan.levels[0])
        + (plan.level_norm == "affine") * inner_norms
        + model.codebook_trainable * elements
    )
    buffers = (
        (1 - model.codebook_trainable) * elements
        + (model.vq_mode != "soft") * _library_buffers(plan, elements)
        + (model.pos == "rand") * model.block_size * model.dim
    )
    return ParameterCounts(block=block, other=(model.dim + 1) * task.channels, buffers=buffers)


def codebook_activations(model: Any, task: Any, plan: CodebookPlan) -> Any:
    """Elements kept for the backward pass of one example of ``task.time_steps`` positions.

    Of a norm its input and two numbers a group; of a soft read the weights of all rows, and what reads where rows are learned;
    of a hard read the vectors and their rows for the commitment loss, and the choice as ones and zeros where rows are learned;
    of encoder and decoder their inputs, of the loss its two sides. What the exchange of ``order: inc`` keeps is left out: it is
    kept once a batch, and only where something in it is learned.
    """
    first, *inner = plan.levels
    position = 3 * task.channels + model.dim + plan.first_norm * _norm_kept(model, first) + _read_kept(model, first)
    for sizes in inner:
        norm = (plan.level_norm != "none") * _norm_kept(model, sizes)
        position = position + (plan.order == "dec") * (norm + _read_kept(model, sizes))
    return task.time_steps * position


def _width(model: Any, sizes: Any) -> Any:
    return model.dim // len(sizes)


def _library_buffers(plan: CodebookPlan, elements: Any) -> Any:
    """Of each codebook the moving averages of its rows and of their use, a mark and a zero."""
    return elements + sum(sum(sizes) + 2 * len(sizes) for sizes in plan.levels)


def _norm_kept(model: Any, sizes: Any) -> Any:
    return model.dim + 2 * len(sizes)


def _read_kept(model: Any, sizes: Any) -> Any:
    hard = (model.vq_mode != "soft") * 1
    soft = sum(sizes) + model.codebook_trainable * model.dim
    return (1 - hard) * soft + hard * (2 * model.dim + model.codebook_trainable * sum(sizes))
