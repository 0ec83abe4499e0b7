"""Closed forms of what an implicit memory costs; all fields may be NumPy arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from trainables.columns import by_row, counts_by_row
from trainables.counts import ParameterCounts
from trainables.pretrained.activations import activation_elements
from trainables.pretrained.backbone import Backbone
from trainables.pretrained.implicit_memory.configuration import unfit_layers
from trainables.pretrained.implicit_memory.schedule import update_count
from trainables.pretrained.model import model_on_meta
from trainables.pretrained.sizes import ModelSizes, model_sizes
from trainables.sequence_length import sequence_length


def memory_counts(model: Any, task: Any) -> ParameterCounts:
    """Of the backbone, and with ``dual_ffn`` the frozen copies: L * (3 * D * I + D) where the layers have no biases."""
    counts = counts_by_row(lambda value, _: Backbone.of(value).counts(), model.backbone, task)
    copies = model.dual_ffn * by_row(lambda value, _: _copied(value), model.backbone, task)
    return replace(counts, block=counts.block + copies, frozen=counts.frozen + copies)


def _copied(value: Any) -> int:
    """Elements of the copies; none where the rules refuse the backbone, whose layers have other names."""
    if unfit_layers(value) is not None:
        return 0
    blocks: Any = model_on_meta(Backbone.of(value).config).blocks
    parts = (part for block in blocks for part in (block.mlp, block.post_attention_layernorm))
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


def state_elements(model: Any, task: Any) -> Any:
    """Elements of the memories of one row at the end of a sequence: L * (1 + n) * S * D with n snapshots."""
    held = np.minimum(model.ltm_capacity, _writes(model, task))
    return (1 + held) * model.short_term_memory * _per_row(model, task, lambda sizes: sizes.layers * sizes.width)


def memory_activation_elements(model: Any, task: Any) -> Any:
    """Elements kept for the backward pass of one window of the task, of which its sequences may have several.

    Of each forward what the backbone keeps of its window, and of each row of the memory that it reads the states, and the keys
    and values beside those of the window. Recomputed forwards keep the memory that they read and their states; one of them at
    a time has what it keeps otherwise.
    """
    writes, length = _writes(model, task), _stretch(task)
    forwards = writes + ((writes == 0) | (_covered(model, writes) < length))
    later = forwards - 1
    tokens = np.minimum(model.input_block, length) + later * (model.input_block + model.memory_block)
    longest = np.minimum(length, model.input_block + model.memory_block)
    kept = _of_windows(model, task, tokens, _rows_read(model, forwards), length)
    one = _of_windows(model, task, longest, _rows_of_one(model, forwards), np.minimum(length, model.input_block))
    read = (1 + writes) * model.short_term_memory * _per_row(model, task, lambda sizes: sizes.layers * sizes.width)
    return (model.recompute * (one + read) + (1 - model.recompute) * kept) / _windows(task)


def _of_windows(model: Any, task: Any, tokens: Any, rows: Any, logits: Any) -> Any:
    """Of ``tokens`` in windows, ``rows`` of memories and ``logits`` positions behind the output head."""

    def of_token(sizes: ModelSizes) -> int:
        return int(activation_elements(sizes, 1)) - 2 * sizes.vocabulary

    def of_memory_row(sizes: ModelSizes) -> int:
        return sizes.layers * (sizes.width + 4 * sizes.key_heads * sizes.head_width)

    head = _per_row(model, task, lambda sizes: 2 * sizes.vocabulary)
    return tokens * _per_row(model, task, of_token) + rows * _per_row(model, task, of_memory_row) + logits * head


def _rows_read(model: Any, forwards: Any) -> Any:
    """Rows of memories that tokens read, in all forwards together: the snapshots grow by one a forward up to the most."""
    most = _most_snapshots(model)
    growing = np.minimum(forwards, most + 1)
    snapshots = growing * (growing - 1) // 2 + (forwards - growing) * most
    return model.short_term_memory * (forwards + snapshots)


def _rows_of_one(model: Any, forwards: Any) -> Any:
    return model.short_term_memory * (1 + np.minimum(forwards - 1, _most_snapshots(model)))


def _most_snapshots(model: Any) -> Any:
    visible = model.ltm_visible_to_input
    last = np.minimum(model.visible_snapshots, model.ltm_capacity)
    return (visible == "all") * model.ltm_capacity + (visible == "last_n") * last


def _writes(model: Any, task: Any) -> Any:
    return update_count(_stretch(task), model.input_block, model.memory_block)


def _covered(model: Any, writes: Any) -> Any:
    """Tokens up to the last write."""
    return (writes > 0) * (model.input_block + (writes - 1) * model.memory_block)


def _stretch(task: Any) -> Any:
    """Tokens of an example of training."""
    return sequence_length(task) * _windows(task)


def _windows(task: Any) -> Any:
    return getattr(task, "segments", 1)


def _per_row(model: Any, task: Any, of_sizes: Any) -> Any:
    return by_row(lambda value, _: of_sizes(model_sizes(Backbone.of(value).config)), model.backbone, task)
