"""Memory by arithmetic: what a module holds, and what a run is expected to need. MiB is 2^20 bytes."""

from __future__ import annotations

import itertools
from typing import Any

from torch import nn

from trainables.counts import ParameterCounts

MIB = 2**20


def weights_mib(module: nn.Module) -> float:
    """Parameters and buffers of ``module`` in MiB, each in its own precision; a tensor that is shared counts once.

    What belongs to the weights besides, such as the scales of quantised ones, is told by ``module.extra_bytes()``.
    """
    tensors = itertools.chain(module.parameters(), module.buffers())
    extra: int = getattr(module, "extra_bytes", lambda: 0)()
    return (sum(tensor.numel() * tensor.element_size() for tensor in tensors) + extra) / MIB


def estimated_mib(
    counts: ParameterCounts,
    activation_elements_per_example: Any,
    batch_size: Any,
    training: bool,
    bytes_per_element: int = 4,
) -> Any:
    """Expected peak of one run in MiB, without interpreter, CUDA context and temporary workspaces.

    With S ``counts.stored`` (parameters, buffers and what is held outside the module), P ``counts.trainable``,
    A ``activation_elements_per_example``, B ``batch_size`` and b ``bytes_per_element``::

        training:    b (S + 3 P + A B) / 2^20        3 P: a gradient and two Adam moments a trainable parameter
        evaluation:  b (S + A B) / 2^20              an upper bound, since a forward pass alone keeps few activations

    Counts, A and B may be NumPy arrays of one shape (one element a candidate structure); the result has that shape.
    """
    optimiser_elements = 3 * counts.trainable if training else 0
    elements = counts.stored + optimiser_elements + activation_elements_per_example * batch_size
    return elements * bytes_per_element / MIB
