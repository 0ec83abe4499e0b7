"""The memory of cuDNN's LSTM, which keeps what its backward pass needs in one reserve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_KEPT_PER_CELL = 6
"""Numbers a step, layer and cell in cuDNN's reserve: four gates, the state and the output."""
_GATES = 4


def lstm_on_cuda(
    x: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """``torch.lstm`` of ``meta`` tensors in one direction; NotImplemented for others."""
    if x.device.type != "meta" or bidirectional or not isinstance(states, (list, tuple)):
        return NotImplemented
    steps = x.transpose(0, 1) if batch_first else x
    outputs, hidden, cell = _Lstm.apply(steps, *states, num_layers, *weights)  # type: ignore[no-untyped-call]
    return outputs.transpose(0, 1) if batch_first else outputs, hidden, cell


class _Lstm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, hidden: Tensor, cell: Tensor, layers: int, *weights: Tensor) -> tuple[Tensor, ...]:
        """(T, B, C), two states (L, B, H) and the weights to (T, B, H) and the last states."""
        steps, batch, width = len(x), x.shape[1], hidden.shape[-1]
        inputs = x.contiguous()
        outputs = x.new_empty(steps, batch, width)
        learns = any(ctx.needs_input_grad)
        reserve = x.new_empty(steps * batch * width * layers * _KEPT_PER_CELL if learns else 0)
        last = torch.empty_like(hidden), torch.empty_like(cell)
        x.new_empty(steps * batch * width * _GATES)  # the workspace, given back at once
        ctx.save_for_backward(inputs, hidden, cell, outputs, reserve, *weights)
        return outputs, *last

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        inputs, hidden, cell, _outputs, reserve, *weights = ctx.saved_tensors
        grad = grad.contiguous()
        grad_inputs = torch.empty_like(inputs)
        grad.new_empty(reserve.numel() * _GATES // _KEPT_PER_CELL)
        # cuDNN writes the gradients of all weights into one buffer; they are taken as they are.
        sizes = [weight.numel() for weight in weights]
        parts = torch.split(grad.new_empty(sum(sizes)), sizes)
        grads = (part.view(weight.shape) for part, weight in zip(parts, weights, strict=True))
        return grad_inputs, torch.empty_like(hidden), torch.empty_like(cell), None, *grads
