"""Asks each node for its GPUs, by tasks that take none of them and need no CUDA."""

from __future__ import annotations

import functools
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.packing.capacity import GpuMemory, gpus_of_this_machine
from orchestrator.ray_executor.nodes import living_nodes
from orchestrator.ray_executor.tenancy import Place, Reading
from trainables.heartbeat import Sender, start_of_process

ANSWER_PATIENCE_S = 60.0
"""For a node to start a worker process and to ask its driver."""
_SEES_THE_NODES_GPUS = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
"""Earlier versions of Ray hide all GPUs from a task that asks for none."""

_logger = logging.getLogger(__name__)


def survey() -> list[GpuMemory]:
    """The GPUs of every living node that Ray may use there, with their memory at the moment.

    A node without NVML, one that does not answer in time, and a GPU that does not tell its memory have none.
    """
    return [gpu for gpus in survey_of_others(()).values() for gpu in gpus]


def survey_of_others(known: Collection[str]) -> dict[str, list[GpuMemory]]:
    """The same of the nodes that are not among ``known``, by node; one that does not answer is left out."""
    nodes = [node for node in _nodes_with_gpus() if node not in known]
    return _answers({node: (gpus_of_this_machine, (node,)) for node in nodes})


def read(places: Iterable[Place], processes: Iterable[Sender]) -> Reading:
    """The memory in use on each of ``places``, and which of ``processes`` have ended; of a node that does not answer, nothing."""
    wanted: dict[str, tuple[list[str], list[Sender]]] = defaultdict(lambda: ([], []))
    for place in places:
        wanted[place.node][0].append(place.gpu)
    for process in processes:
        wanted[process.node][1].append(process)
    living = living_nodes()
    calls = {node: (_look, asked) for node, asked in wanted.items() if node in living}
    used: dict[Place, float] = {}
    gone: set[Sender] = {process for node, (_, there) in wanted.items() if node not in living for process in there}
    for node, (by_gpu, ended) in _answers(calls).items():
        used |= {Place(node, gpu): mib for gpu, mib in by_gpu.items()}
        gone |= set(ended)
    return Reading(used, gone, wanted.keys() - living)


@functools.cache
def name_on(node: str, entry: str) -> str:
    """The UUID of the GPU that Ray calls ``entry`` on ``node``; ``entry`` itself where nobody can say.

    Raises:
        RuntimeError: the node does not answer.
    """
    answers = _answers({node: (_name_here, (entry,))})
    if node not in answers:
        raise RuntimeError(f"node {node} does not answer")
    return str(answers[node])


def _name_here(entry: str) -> str:
    from trainables.memory.inventory import name_of_gpu

    return name_of_gpu(entry, os.environ)


def _look(gpus: list[str], processes: list[Sender]) -> tuple[dict[str, float], list[Sender]]:
    from trainables.memory.inventory import used_mib

    start_of_process.cache_clear()
    return used_mib(gpus), [process for process in processes if start_of_process(process.pid) != process.started]


def _answers(calls: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]]) -> dict[str, Any]:
    """What each node's task returns, by node; those that fail or are late are left out."""
    tasks = {_on(node, function).remote(*arguments): node for node, (function, arguments) in calls.items()}
    done, late = ray.wait(list(tasks), num_returns=len(tasks), timeout=ANSWER_PATIENCE_S) if tasks else ([], [])
    for task in late:
        _logger.warning("node %s has not told its GPUs within %.0f s", tasks[task], ANSWER_PATIENCE_S)
        ray.cancel(task)
    answers = {}
    for task in done:
        try:
            answers[tasks[task]] = ray.get(task)
        except Exception as error:  # such as a node that is lost meanwhile
            _logger.warning("node %s could not tell its GPUs: %s", tasks[task], error)
    return answers


def _on(node: str, function: Callable[..., Any]) -> Any:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(function).options(
        num_cpus=0, num_gpus=0, max_retries=0, scheduling_strategy=there, runtime_env=_SEES_THE_NODES_GPUS
    )


def _nodes_with_gpus() -> list[str]:
    return [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU", 0) > 0]
