"""A plan in words, and whether a person should be asked before it is carried out."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.check import EntryCheck
from orchestrator.packing.classes import GpuClass
from orchestrator.plan.making import Packing, Plan
from orchestrator.ray_executor.resources import Allocation
from orchestrator.space.specification import SweepSpecification

CONFIRM_SLOT_HOURS = 24.0


def render_plan(specification: SweepSpecification, checks: Mapping[str, EntryCheck], plan: Plan) -> str:
    """The plan as text."""
    runs = "not known before they are suggested" if plan.runs is None else f"{plan.runs:,}"
    lines = [
        f"{specification.name}: {plan.studies} studies, {runs} runs ({specification.search.replicates} per trial)",
        *(_unpacked_lines(specification, plan) if plan.packing is None else _packed_lines(plan.allocation, plan.packing)),
        *plan.left_alone,
    ]
    for name, entry in plan.entries.items():
        check = checks[name]
        low, high = entry.predicted_mib
        about = "" if check.exact else "about "
        share = f", {_shares(entry.sizes)}" if entry.sizes else ""
        took = "" if entry.run_seconds is None else f", roughly {_duration(entry.run_seconds)} a run"
        lines.append(
            f"  {name}: {about}{check.feasible:,} of {check.structures:,} structures feasible, "
            f"predicted {low:.0f} to {high:.0f} MiB{share}{took}"
        )
    if plan.shared:
        counted = Counter(plan.shared)
        told = [title if count == 1 else f"{title} ({count} times)" for title, count in counted.items()]
        lines.append(f"made once, before the runs: {', '.join(told)}")
    if plan.slot_hours is not None:
        lines.append(f"time: roughly {_duration(plan.slot_hours * 3600)} of one slot at the most, without early stopping")
    lines.append(f"checkpoints: {_checkpoints(plan)} (keep: {plan.keep})")
    return "\n".join(lines)


def _unpacked_lines(specification: SweepSpecification, plan: Plan) -> list[str]:
    allocation = plan.allocation
    lines = [
        f"each run: {allocation.cpus:g} CPU, {allocation.gpus:g} GPU; at once: {allocation.concurrency} "
        f"(demand: {allocation.concurrency * allocation.cpus:g} CPU, {allocation.concurrency * allocation.gpus:g} GPU)"
    ]
    if specification.resources.gpu_memory_mib is not None:
        lines.append(_why_unpacked(specification))
    return lines


def _why_unpacked(specification: SweepSpecification) -> str:
    if specification.resources.gpu != "auto":
        return "resources.gpu_memory_mib says nothing beside a number for `gpu`: leave `gpu` out to pack by memory"
    return "resources.gpu_memory_mib says nothing here: there is no GPU, and without a number for `concurrency` none is asked for"


def _packed_lines(allocation: Allocation, packing: Packing) -> list[str]:
    demand = packing.demand
    gpus = "1 GPU" if demand.gpus == 1 else f"{demand.gpus} GPUs"
    return [
        f"each run: {allocation.cpus:g} CPU, and of a GPU the share that its memory needs; at once: {demand.at_once} on {gpus} "
        f"(demand: {demand.describe(allocation.cpus)})",
        f"memory: {packing.capacity.capacity_mib:,.0f} MiB for runs on each GPU ({packing.capacity.of}); predicted "
        "without a GPU, CUDA context included; what runs measure corrects it, and with it the demand",
    ]


def _shares(sizes: Sequence[GpuClass]) -> str:
    least, most = min(sizes, key=lambda size: size.fraction), max(sizes, key=lambda size: size.fraction)
    if least == most:
        return f"{least} each" + ("" if least.is_whole else f" ({least.divisor} on one)")
    from_least = str(least) if most.is_whole else f"1/{least.divisor}"
    return f"{from_least} to {most} each ({most.divisor} to {least.divisor} on one)"


def reason_to_ask(plan: Plan, storage: Path) -> str | None:
    """Why a person should be asked before running: very long, or more checkpoints than the disk has room."""
    if plan.slot_hours is not None and plan.slot_hours > CONFIRM_SLOT_HOURS:
        return f"this is roughly {plan.slot_hours:.0f} slot-hours"
    existing = next(path for path in (storage.resolve(), *storage.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if plan.checkpoint_bytes is not None and plan.checkpoint_bytes > free:
        return f"checkpoints may take {plan.checkpoint_bytes / 2**30:.1f} GiB, the disk has {free / 2**30:.1f} GiB left"
    return None


def _checkpoints(plan: Plan) -> str:
    if plan.checkpoint_bytes is None:
        return f"{plan.largest_checkpoint / 2**20:,.1f} MiB a run"
    return f"at most {math.ceil(plan.checkpoint_bytes / 2**20):,} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
