"""A CUDA device that is not there: tensors without numbers (``meta``) that say they are on it.

A build of torch without CUDA refuses gradients of tensors of a fake CUDA device; those of ``meta`` it computes. So the tensors
are there, and whoever asks one for its device, or names the device for a new one, sees CUDA.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from trainables.prediction.attention import attention_on_cuda
from trainables.prediction.recurrent import lstm_on_cuda

CUDA, META = torch.device("cuda", 0), torch.device("meta")
_DEVICE: Any = Tensor.device.__get__


def dropout_on_cuda(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Dropout of ``meta`` tensors, whose mask takes a byte an element; NotImplemented where there is none."""
    if x.device.type != "meta" or not training or not 0 < p < 1 or inplace:
        return NotImplemented
    return torch.native_dropout(x, p, True)[0]


class PretendedCuda(TorchFunctionMode):
    """While it is entered, in this thread, ``meta`` tensors say ``cuda:0``, and what is put on CUDA is a ``meta`` tensor.

    Where torch chooses another kernel for CUDA than for other devices, that one is taken: dropout with a mask of truth values,
    fused attention, the LSTM of cuDNN.
    """

    kernels: ClassVar[Mapping[Any, Callable[..., Any]]] = {
        functional.dropout: dropout_on_cuda,
        torch.dropout: dropout_on_cuda,
        functional.scaled_dot_product_attention: attention_on_cuda,
        torch.lstm: lstm_on_cuda,
    }
    """What is taken in the place of functions of torch, unless it gives NotImplemented."""

    def __torch_function__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function == _DEVICE:  # each look makes a new wrapper, equal to this one
            return _device(args[0])
        taken = self.kernels.get(function)
        found = NotImplemented if taken is None else taken(*args, **kwargs)
        if found is not NotImplemented:
            return found
        return function(*map(_real, args), **{name: _real(value) for name, value in kwargs.items()})


def _real(argument: Any) -> Any:
    if isinstance(argument, torch.device):
        return META if argument.type == "cuda" else argument
    return META if isinstance(argument, str) and argument.partition(":")[0] == "cuda" else argument


def _device(tensor: Tensor) -> torch.device:
    return CUDA if tensor.device.type == "meta" else tensor.device
