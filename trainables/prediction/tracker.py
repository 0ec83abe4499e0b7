"""Which bytes live on a device while torch computes: every storage that an operation makes, until nobody refers to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainables.prediction.allocator import Block, CachingAllocator
from trainables.prediction.answers import Answer, answer_of, with_places
from trainables.prediction.scratch import MATRIX_PRODUCTS, SCRATCH

_WHOLE: set[Any] = set()
"""Operations that are known not to be made of others."""


class TooManyOperations(Exception):
    """What is followed has more operations than it may have."""


class EnoughSeen(Exception):
    """What is followed repeats itself, as far as can be seen."""


class DeviceTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storages on devices of ``device_type`` and lays them out as the caching allocator of CUDA would.

    Tensors without numbers (``meta``) stand for those of a GPU, whose kernels' own temporaries are added (``as_gpu``). Numbers
    that are asked of them are made up (:mod:`trainables.prediction.answers`). Of other threads nothing is followed.

    Args:
        device_type: of the tensors to follow.
        as_gpu: bytes of a cuBLAS workspace, which the first matrix product of the forward pass takes and that of the backward
            pass; None follows tensors alone.
        limit: operations after which :class:`TooManyOperations` is raised.
    """

    def __init__(self, device_type: str, *, as_gpu: int | None = None, limit: int = 10**9) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.allocator = CachingAllocator()
        self.operations = 0
        self.in_backward = self.cut_short = False
        self._device_type, self._workspace, self._limit = device_type, as_gpu, limit
        self._live: dict[int, weakref.ref[Any]] = {}
        self._has_workspace: set[bool] = set()
        self._repetition: tuple[int, int, int] | None = None
        self._peak = self._last_rise = self._began = 0

    def adopt(self, tensors: Iterable[Tensor]) -> None:
        """Counts tensors that were made before, each storage once."""
        for tensor in tensors:
            self._note(tensor, known=())

    def stop_when_repeated(self, *, least: int, factor: int, most: int) -> None:
        """From now on :class:`EnoughSeen` is raised where the peak of what follows no longer rises.

        That is once ``factor`` times as many operations, at least ``least``, have passed as when it last rose. After ``most`` it
        is raised anyway, and :attr:`cut_short` is true.
        """
        self._repetition = (least, factor, most)
        self._began = self._last_rise = self.operations
        self._peak = 0

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        answer: Answer | None = answer_of(function, args, kwargs) if self._device_type == "meta" else None
        if answer is not None:
            return answer.value
        if function not in _WHOLE:
            with self:  # without autograd, as in inference, operations that are made of others arrive whole
                made_of_others = function.decompose(*args, **kwargs)
            if made_of_others is not NotImplemented:
                return made_of_others
            _WHOLE.add(function)
        self._count()
        args = with_places(function, args)
        output = function(*args, **kwargs)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = [tensor.untyped_storage()._cdata for tensor in inputs]
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                self._note(leaf, known)
        if self._workspace is not None:
            self._take_scratch(function, args)
        return output

    def _count(self) -> None:
        self.operations += 1
        if self.operations > self._limit:
            raise TooManyOperations(f"it has more than {self._limit:,} operations")
        if self.allocator.allocated > self._peak:
            self._peak, self._last_rise = self.allocator.allocated, self.operations
        if self._repetition is not None:
            self._stop_when_repeated(*self._repetition)

    def _stop_when_repeated(self, least: int, factor: int, most: int) -> None:
        since, rise = self.operations - self._began, self._last_rise - self._began
        repeated = since > max(least, factor * rise)
        if repeated or since > most:
            self.cut_short, self._repetition = not repeated, None
            raise EnoughSeen

    def _note(self, tensor: Tensor, known: Iterable[int]) -> None:
        if tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        if storage.device.type != self._device_type:
            return
        key = storage._cdata
        if key in self._live or key in known:
            return
        size = storage.nbytes()
        block = self.allocator.allocate(size)
        self._live[key] = weakref.ref(storage, self._forgetter(key, block, size))

    def _forgetter(self, key: int, block: Block | None, size: int) -> Callable[[Any], None]:
        live, allocator = self._live, self.allocator

        def forget(_: Any) -> None:
            del live[key]
            allocator.free(block, size)

        return forget

    def _take_scratch(self, function: Any, args: tuple[Any, ...]) -> None:
        if function in MATRIX_PRODUCTS and self._on_device(args) and self.in_backward not in self._has_workspace:
            # The backward pass runs in a thread of its own, and each thread has a workspace, which stays.
            self._has_workspace.add(self.in_backward)
            assert self._workspace is not None
            self.allocator.allocate(self._workspace)
        for sizes in SCRATCH[function](*args) if function in SCRATCH and self._on_device(args) else ():
            blocks = [(self.allocator.allocate(size), size) for size in sizes]
            for block, size in blocks:
                self.allocator.free(block, size)

    def _on_device(self, args: tuple[Any, ...]) -> bool:
        return any(
            isinstance(leaf, Tensor) and leaf.untyped_storage().device.type == self._device_type for leaf in tree_leaves(args)
        )
