"""What tensors without numbers answer when numbers are asked of them: copies to the host, lengths that depend on values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Answer:
    value: Any


def answer_of(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Answer | None:
    """What is made up for an operation that needs numbers of a ``meta`` tensor; None where it needs none.

    A copy to the host is all zeros, a single number is 1 (a truth value true), and where places are asked for (``nonzero``, a
    mask as an index) all are taken, so that nothing is larger in truth.
    """
    found = _ANSWERS.get(function)
    return None if found is None else found(args, kwargs)


def has_no_numbers(tensor: Tensor) -> bool:
    """Whether it is truly on ``meta``: the tensor itself may be pretending, its storage never does."""
    return tensor.untyped_storage().device.type == "meta"


def _number(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Answer | None:
    tensor: Tensor = args[0]
    if not has_no_numbers(tensor):
        return None
    return Answer(True if tensor.dtype == torch.bool else 1.0 if tensor.is_floating_point() else 1)


def _copy_to_host(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Answer | None:
    tensor, device = args[0], kwargs.get("device")
    if not has_no_numbers(tensor) or device is None or torch.device(device).type != "cpu":
        return None
    return Answer(torch.zeros(tensor.shape, dtype=kwargs.get("dtype") or tensor.dtype, device="cpu"))


def _copy_into_host(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Answer | None:
    target, source = args[:2]
    return Answer(target) if has_no_numbers(source) and not has_no_numbers(target) else None


def _places(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Answer | None:
    tensor: Tensor = args[0]
    if not has_no_numbers(tensor):
        return None
    return Answer(torch.empty((tensor.numel(), tensor.ndim), dtype=torch.int64, device="meta"))


def _chosen(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Answer | None:
    tensor, mask = args[:2]
    if not has_no_numbers(tensor):
        return None
    return Answer(torch.empty(torch.where(mask, tensor, tensor).numel(), dtype=tensor.dtype, device="meta"))


def _equal(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Answer | None:
    first, second = args[:2]
    return Answer(first.shape == second.shape) if has_no_numbers(first) or has_no_numbers(second) else None


def with_places(function: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of an indexing with every mask of a ``meta`` tensor as the places of all its elements."""
    if function not in _INDEXINGS or not any(_is_mask(index) for index in args[1]):
        return args
    indices: list[Tensor | None] = []
    for index in args[1]:
        if _is_mask(index):
            indices += [torch.empty(index.numel(), dtype=torch.int64, device="meta") for _ in range(index.ndim)]
        else:
            indices.append(index)
    return (args[0], indices, *args[2:])


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8) and has_no_numbers(index)


_INDEXINGS = frozenset((_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default))
_ANSWERS: dict[Any, Any] = {
    _aten._local_scalar_dense.default: _number,
    _aten._to_copy.default: _copy_to_host,
    _aten.copy_.default: _copy_into_host,
    _aten.nonzero.default: _places,
    _aten.masked_select.default: _chosen,
    _aten.equal.default: _equal,
}
