"""Measures one request in this process, which does nothing else."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainables import registry
from trainables.architecture import Architecture
from trainables.footprint.modes import Work, work_of
from trainables.footprint.request import FootprintRequest
from trainables.memory import MemoryMonitor, weights_mib
from trainables.training.forward_hooks import beat_on_forward
from trainables.training.seeding import fit_threads, seed_everything

_OF_THE_PROCESS = ("memory/baseline_host_mib", "vram/peak_device_delta_mib")
"""What is told against the state before there was a model; everything else is the largest of the repeats."""


def measure(request: FootprintRequest, beat: Callable[[], None]) -> dict[str, float]:
    """The metrics of a request: weights, peaks (the largest of all repeats) and throughput (of the fastest).

    ``beat`` is called while modules are built and run. The module is built without a copy, in the wanted precision, and where
    it is made of a backbone on the device.

    Raises:
        LookupError: the architecture is not registered.
        ConfigurationError: values that do not fit.
        ValueError: the mode is none of this module's.
    """
    fit_threads(request.threads)
    architecture = registry.architectures()[request.architecture]
    model = architecture.configuration.from_values(request.model)
    task = registry.tasks()["memory_footprint"].configuration_type.from_values(request.task)
    device = torch.device(request.device)
    _import_everything(architecture, model, task)
    with MemoryMonitor(device) as whole:
        module = _build(request, architecture, model, task, beat)
        beat_on_forward(module, beat)
        work = work_of(request.task["mode"], module, _tokens(request, module).to(device), beat)
        work()  # workspaces of libraries, and the moments of the optimiser
        repeats = [_repeat(work, device) for _ in range(request.task["repeats"])]
        whole_metrics = whole.metrics()
    seconds = min(repeat.pop("seconds") for repeat in repeats)
    return {
        **_largest(repeats),
        **{name: whole_metrics[name] for name in _OF_THE_PROCESS if name in whole_metrics},
        "memory/weights_mib": weights_mib(module),
        _throughput_name(request): request.task["batch_size"] * request.task["n_tokens"] / seconds,
    }


def _throughput_name(request: FootprintRequest) -> str:
    inference = request.task["mode"] != "train_step"
    return "throughput/inference_tokens_per_s" if inference else "throughput/tokens_per_s"


def _import_everything(architecture: Architecture, model: Any, task: Any) -> None:
    """What is imported late belongs to the baseline and not to the model."""
    with torch.device("meta"):
        architecture.build(model, task)


def _build(request: FootprintRequest, architecture: Architecture, model: Any, task: Any, beat: Callable[[], None]) -> nn.Module:
    device = torch.device(request.device)
    # Large models are backbones, and those are built anywhere; the others may draw numbers from generators of the CPU.
    place = device if hasattr(model, "backbone") else torch.device("cpu")
    seed_everything(request.seed)
    with _default_dtype(getattr(torch, request.task["dtype"])), place, _Beating(beat):
        module = architecture.build(model, task)
    return module.to(device)


def _tokens(request: FootprintRequest, module: nn.Module) -> Tensor:
    """Random tokens (B, T), the same whatever the model; on the CPU."""
    sizes, task = getattr(module, "sizes", None), request.task
    vocabulary = task["vocab_size"] if sizes is None else sizes.vocabulary
    generator = torch.Generator().manual_seed(task["seed"])
    return torch.randint(vocabulary, (task["batch_size"], task["n_tokens"]), generator=generator)


def _repeat(work: Work, device: torch.device) -> dict[str, float]:
    """The peaks of doing it once more, and its ``seconds``."""
    _return_freed_memory()
    with MemoryMonitor(device) as monitor:
        started = time.perf_counter()
        alive = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
        metrics = monitor.metrics()
    del alive
    return {**metrics, "seconds": seconds}


def _largest(repeats: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure that every repeat has the largest."""
    names = [name for name in repeats[0] if all(name in repeat for repeat in repeats)]
    return {name: max(repeat[name] for repeat in repeats) for name in names if name not in _OF_THE_PROCESS}


def _return_freed_memory() -> None:
    """glibc keeps what was freed, which would count as used."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class _Beating(TorchFunctionMode):
    """A sign of life in every call of torch: to draw the weights of a large model takes minutes, without a forward pass."""

    def __init__(self, beat: Callable[[], None]) -> None:
        super().__init__()
        self._beat = beat

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self._beat()
        return function(*args, **(kwargs or {}))
