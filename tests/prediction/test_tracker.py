"""What the tracker counts: by hand on a linear layer, and on tensors without numbers the same as on real ones."""

from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_predictions import WIDTHS, data_of, run
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainables.prediction.pretended import CUDA, PretendedCuda
from trainables.prediction.trace import Stepper
from trainables.prediction.tracker import DeviceTracker, EnoughSeen, TooManyOperations
from trainables.training.configuration import TrainingConfiguration
from trainables.training.request import ResolvedRun

CPU = torch.device("cpu")
FLOAT = 4


class WithKernelsOfTheCpu(PretendedCuda):
    """The same operations as on the host, to be compared with it."""

    kernels: ClassVar[dict[Any, Any]] = {}


class SumOfOutputs:
    """A task whose loss is the sum of what a module gives."""

    def loss(self, module: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = module(batch).sum()
        return total


def test_a_linear_layer_holds_weights_gradients_moments_and_its_output() -> None:
    rows, inputs, outputs = 32, 64, 48
    training = TrainingConfiguration(clip_grad=None, gradient_accumulation=1)
    with torch.device("meta"):
        layer, batch = nn.Linear(inputs, outputs, bias=False), torch.empty(rows, inputs)
    tracker = DeviceTracker("meta")
    with tracker:
        tracker.adopt([*layer.parameters(), batch])
        stepper = Stepper(training, layer, tracker)
        for _ in range(2):
            stepper.step(SumOfOutputs(), batch, last=True)  # type: ignore[arg-type]
    weights, data, states = inputs * outputs * FLOAT, rows * inputs * FLOAT, rows * outputs * FLOAT
    held = 3 * weights + data + FLOAT  # weights, two moments and the count of steps; between the steps no gradient
    assert tracker.allocator.requested == held
    # The gradient of the sum is one number, expanded, which the product copies for nobody: its output is gone by then.
    assert held + weights <= tracker.allocator.peak_requested <= held + weights + states


def test_a_storage_is_counted_once_and_until_its_last_view_is_gone() -> None:
    tracker = DeviceTracker("meta")
    with tracker:
        whole = torch.empty(256, device="meta")
        part = whole[:10].view(2, 5)
        whole.add_(1)
        assert tracker.allocator.requested == 256 * FLOAT
        del whole
        assert tracker.allocator.requested == 256 * FLOAT
        del part
        assert tracker.allocator.requested == 0


def test_tensors_of_other_devices_are_not_counted() -> None:
    tracker = DeviceTracker("meta")
    with tracker:
        here = torch.zeros(100)
        there = here.to("meta")
    assert tracker.allocator.requested == there.numel() * FLOAT


def test_numbers_asked_of_tensors_without_numbers_are_made_up() -> None:
    with PretendedCuda(), DeviceTracker("meta"):
        x = torch.empty(3, 2, device=CUDA)
        assert x.device == CUDA
        assert x.sum().item() == 1.0 and (x > 0).any().item() is True
        assert x.cpu().tolist() == [[0.0, 0.0]] * 3
        assert x[x > 0].shape == (6,) and (x > 0).nonzero().shape == (6, 2)
        host = torch.ones(3, 2)
        assert host.copy_(x) is host


def test_too_many_operations_are_refused() -> None:
    with pytest.raises(TooManyOperations, match="more than 10 operations"), DeviceTracker("meta", limit=10):
        x = torch.empty(1, device="meta")
        for _ in range(20):
            x = x + 1


@pytest.mark.parametrize(("grows", "cut_short"), [(False, False), (True, True)])
def test_what_repeats_itself_is_not_followed_to_its_end(grows: bool, cut_short: bool) -> None:
    held, tracker = [], DeviceTracker("meta")
    with pytest.raises(EnoughSeen), tracker:
        tracker.stop_when_repeated(least=5, factor=2, most=100)
        while True:
            held.append(torch.empty(1, device="meta"))
            held = held if grows else held[-1:]
    assert tracker.cut_short is cut_short
    assert (tracker.operations > 100) is cut_short


TOKENS = ("gpt", "unified_kv", "delta_net", "topk_attention", "memorizing_transformer", "trime")
SERIES = ("vq_mlp", "vq_ln_mlp", "vq_ln_pe_mlp", "grouped_vq_mlp", "hierarchical_vq_mlp", "grouped_hierarchical_vq_mlp")
SIZES = {"du": 8, "codebook_size": 8, "groups": [4, 4], "n_neighbors": 4, "memory_size": 16}
LEVELS: dict[str, Any] = {"grouped_hierarchical_vq_mlp": [[8, 8], [4]]}
CASES = [
    *((name, "language_modeling") for name in TOKENS),
    *((name, "forecasting") for name in SERIES),
    *((name, "mqar") for name in ("gpt", "unified_kv", "delta_net")),
    ("gpt", "segment_lm"),
]


@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_without_numbers_the_same_bytes_live_as_in_a_real_step(architecture: str, task: str) -> None:
    resolved = run(architecture, task, **values_of(architecture))
    assert_equal_peaks(resolved)


@settings(max_examples=4, deadline=None)
@given(batch_size=st.integers(1, 9), dim=st.integers(1, 12), n_layers=st.integers(1, 3), clips=st.booleans())
def test_that_holds_for_every_size(batch_size: int, dim: int, n_layers: int, clips: bool) -> None:
    training = {"batch_size": batch_size, "clip_grad": 1.0 if clips else None}
    assert_equal_peaks(run("gpt", dim=2 * dim, n_layers=n_layers, n_heads=2, dk=6, dv=6, training=training))


def values_of(architecture: str) -> dict[str, Any]:
    """Of small widths those that the architecture has; keys as wide as values, since the CPU fills up others."""
    from trainables.registry import architectures

    known = architectures()[architecture].configuration.hyperparameters()
    wanted = {
        **WIDTHS,
        "du": 8,
        "codebook_size": 8,
        "groups": [4, 4],
        "levels": LEVELS.get(architecture, [8, 4]),
        "n_neighbors": 4,
        "memory_size": 16,
    }
    return {name: value for name, value in wanted.items() if name in known}


def assert_equal_peaks(resolved: ResolvedRun) -> None:
    task = resolved.task_type(resolved.task, data_of(resolved), CPU)
    module = resolved.architecture.build(resolved.model, resolved.task)
    task.adapt_to(module)
    batch = next(iter(task.train_batches(resolved.training.batch_size, torch.arange(task.examples_per_epoch))))
    on_host = peak(resolved, task, module, batch, DeviceTracker("cpu"))
    module.to("meta")
    without_numbers = on_meta_device(plain(batch))
    with WithKernelsOfTheCpu():
        on_meta = peak(resolved, task, module, type(batch)(**without_numbers), DeviceTracker("meta"))
    assert on_meta == on_host


def on_meta_device(values: dict[str, Any]) -> dict[str, Any]:
    """Views of one tensor stay views of one."""
    wholes: dict[int, torch.Tensor] = {}

    def moved(x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        storage = x.untyped_storage()
        whole = wholes.setdefault(storage._cdata, torch.empty(storage.nbytes(), dtype=torch.uint8, device="meta"))
        return whole.view(x.dtype).as_strided(x.shape, x.stride(), x.storage_offset())

    return {name: moved(value) for name, value in values.items()}


def plain(batch: Any) -> dict[str, Any]:
    names = getattr(batch, "_fields", None) or batch.__dataclass_fields__
    return {name: getattr(batch, name) for name in names}


def peak(resolved: ResolvedRun, task: Any, module: nn.Module, batch: Any, tracker: DeviceTracker) -> tuple[int, int, int]:
    """Bytes of tensors that live at most in two steps, and afterwards; and what the allocator reserves for them."""
    module.train()
    with sdpa_kernel([SDPBackend.MATH]), tracker:
        tracker.adopt(module.parameters())
        tracker.adopt(module.buffers())
        tracker.adopt(x for x in plain(batch).values() if isinstance(x, torch.Tensor))
        stepper = Stepper(resolved.training, module, tracker)
        for _ in range(2):
            stepper.step(task, batch, last=True)
    allocator = tracker.allocator
    return allocator.peak_requested, allocator.requested, allocator.reserved
