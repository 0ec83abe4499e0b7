"""What ``plan`` says of runs that are packed on GPUs."""

from __future__ import annotations

import pytest
from search_space_text import specified

from orchestrator.check import check_feasibility
from orchestrator.packing import GpuMemory
from orchestrator.plan import Plan, make_plan, render_plan

SPACE = """
task: {task}
model: {{n_layers: 1, n_heads: 1, dk: 8, dv: 8}}
architectures: {{gpt: {{dim: 32}}, delta_net: {{dim: {{choice: [32, {wide}]}}}}}}
search: {{trials: {trials}}}
resources: {resources}
"""
MQAR = "{name: mqar, vocab_size: 256, input_seq_len: 64, num_kv_pairs: 4, train_examples: 1000}"
L4 = GpuMemory("node-1", "GPU-a", "NVIDIA L4", 23_034, 22_500)
FILLED = GpuMemory("node-1", "GPU-b", "NVIDIA L4", 23_034, 1_000)


def planned(resources: str, gpus: list[GpuMemory], trials: int = 20, task: str = MQAR, wide: int = 64) -> tuple[Plan, str]:
    specification = specified(SPACE.format(resources=resources, trials=trials, task=task, wide=wide))
    plan = make_plan(specification, gpus)
    return plan, render_plan(specification, check_feasibility(specification)[0], plan)


def test_an_autoscaler_is_told_what_it_will_be_asked_for() -> None:
    plan, text = planned("{gpu_memory_mib: 8000, concurrency: 12}", [])
    assert plan.packing is not None and plan.at_once == 12
    assert "at once: 12 on 2 GPUs (demand: 12 x {CPU: 1, GPU: 0.125})" in text
    assert "memory: 8,000 MiB for runs on each GPU (resources.gpu_memory_mib)" in text
    assert text.count("1/8 of a GPU each (8 on one)") == 2


def test_runs_of_several_sizes_are_told_apart() -> None:
    plan, text = planned("{gpu_memory_mib: 16000, concurrency: 12}", [], wide=4096)
    assert plan.packing is not None
    sizes = plan.entries["delta_net"].sizes
    assert len(set(sizes)) == 2 and len(plan.packing.demand.bundles) >= 2
    least, most = max(size.divisor for size in sizes), min(size.divisor for size in sizes)
    assert most > 1 and f"1/{least} to 1/{most} of a GPU each ({most} to {least} on one)" in text
    for size, count in plan.packing.demand.bundles.items():
        assert f"{count} x {{CPU: 1, GPU: {size.fraction:g}}}" in text


def test_this_machine_holds_as_many_as_its_cores_and_gpus_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    plan, text = planned("{}", [L4])
    assert plan.at_once == 16 and "at once: 16 on 1 GPU" in text and "GPU-a (NVIDIA L4) on node node-1" in text
    assert planned("{}", [L4, L4])[0].at_once == 32
    assert planned("{cpu: 8}", [L4])[0].at_once == 8


def test_there_are_no_more_at_once_than_runs() -> None:
    assert planned("{gpu_memory_mib: 8000, concurrency: 12}", [], trials=2)[0].at_once == 4


def test_checkpoints_are_counted_of_as_many_as_are_at_once() -> None:
    plan, _ = planned("{gpu_memory_mib: 8000, concurrency: 12}\ncheckpoints: {keep: none}", [])
    assert plan.checkpoint_bytes == 12 * plan.largest_checkpoint


def test_a_gpu_that_others_have_filled_is_named_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    plan, text = planned("{}", [L4, FILLED])
    assert plan.at_once == 16 and "GPU-b (NVIDIA L4) on node node-1 is left alone" in text


def test_what_measures_memory_has_a_gpu_for_itself() -> None:
    plan, text = planned("{gpu_memory_mib: 80000, concurrency: 3, cpu: 1}", [], task="{name: memory_footprint}")
    assert "demand: 3 x {CPU: 1, GPU: 1}" in text and text.count("a whole GPU each") == 2
    assert plan.packing is not None and plan.packing.demand.gpus == 3


@pytest.mark.parametrize("resources", ["{gpu: 0.25, concurrency: 8, gpu_memory_mib: 8000}", "{}"])
def test_without_packing_it_is_what_it_was(resources: str) -> None:
    plan, text = planned(resources, [])
    assert plan.packing is None and "of a GPU" not in text and "each run: 1 CPU, 0" in text
    assert plan.at_once == plan.allocation.concurrency


@pytest.mark.parametrize(
    ("resources", "why"),
    [("{gpu: 0.5, concurrency: 2, gpu_memory_mib: 8000}", "leave `gpu` out"), ("{gpu_memory_mib: 8000}", "there is no GPU")],
)
def test_a_stated_memory_without_effect_is_told(resources: str, why: str) -> None:
    assert why in planned(resources, [])[1]
    assert "gpu_memory_mib" not in planned("{}", [])[1]
