"""The expected peak of a measurement, by arithmetic alone."""

from __future__ import annotations

import dataclasses
from typing import Any

from trainables.architecture import Architecture
from trainables.language import ChunkedModule
from trainables.memory import MIB
from trainables.memory import estimated_mib as training_mib
from trainables.pretrained.activations import cache_elements, inference_elements
from trainables.pretrained.backbone import Backbone
from trainables.pretrained.sizes import ModelSizes, model_sizes

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def estimated_mib(architecture: Architecture, model: Any, task: Any) -> float:
    """Expected peak in MiB, without interpreter, CUDA context and workspaces; ``model`` and ``task`` are typed configurations.

    With S stored elements (parameters and buffers), P trainable ones, a batch of B sequences and b bytes an element::

        train_step       b (S + 3 P + A B) / 2^20    A: what a sequence keeps for the backward pass; 3 P: gradients and moments
        infer_no_cache   b (S + W B) / 2^20          W: what is alive at once in a forward pass, or the logits
        infer_kv_cache   b (S + (W + K) B) / 2^20    K: keys and values of every token in every layer

    A module that reads in pieces has the W of its longest piece, and K is its memory, in both modes of inference. To A come two
    tensors as large as the logits, which the gradient of their softmax is made of, where they are made at once.
    """
    counts, size = architecture.count(model, task), BYTES[task.dtype]
    if task.mode == "train_step":
        kept = architecture.activation_elements(model, task) + _loss_elements(architecture, model, task)
        return float(training_mib(counts, kept, task.batch_size, training=True, bytes_per_element=size))
    alive = working_elements(architecture, model, task) + held_elements(architecture, model, task)
    return float(counts.stored + alive * task.batch_size) * size / MIB


def working_elements(architecture: Architecture, model: Any, task: Any) -> int:
    """The most elements of one sequence that are alive at once while it is read without gradients."""
    sizes = _backbone_sizes(model)
    if sizes is None:
        # What one layer keeps for its backward pass, and the logits: an upper bound of what it needs at work.
        layered = dataclasses.replace(model, n_layers=1) if hasattr(model, "n_layers") else model
        return int(architecture.activation_elements(layered, task))
    if not reads_in_pieces(architecture):
        return int(inference_elements(sizes, task.n_tokens))
    window = min(task.n_tokens, model.input_block + model.memory_block)
    remembered = held_elements(architecture, model, task) // (sizes.layers * sizes.width)
    return int(inference_elements(sizes, window, remembered))


def held_elements(architecture: Architecture, model: Any, task: Any) -> int:
    """Elements of one sequence that are held for what follows: a cache, or a memory."""
    if reads_in_pieces(architecture):
        own: Any = architecture.build
        return int(own.state_elements(model, task))
    sizes = _backbone_sizes(model)
    if sizes is not None and task.mode == "infer_kv_cache":
        return int(cache_elements(sizes, task.n_tokens))
    return 0


def reads_in_pieces(architecture: Architecture) -> bool:
    """Whether its modules are :class:`trainables.language.ChunkedModule`."""
    return isinstance(architecture.build, type) and issubclass(architecture.build, ChunkedModule)


def _loss_elements(architecture: Architecture, model: Any, task: Any) -> int:
    if reads_in_pieces(architecture):
        return 0
    sizes = _backbone_sizes(model)
    vocabulary = task.vocab_size if sizes is None else sizes.vocabulary
    return int(2 * task.n_tokens * vocabulary)


def _backbone_sizes(model: Any) -> ModelSizes | None:
    return model_sizes(Backbone.of(model.backbone).config) if hasattr(model, "backbone") else None
