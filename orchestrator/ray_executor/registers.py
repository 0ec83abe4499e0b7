"""Small actors that workers talk to, and that the driver asks."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def start_register(kind: type[Any], name: str, *arguments: Any) -> Any:
    """An actor of ``kind`` beside the driver: with a soft affinity Ray puts it on any node, which may be lost. Not restarted by
    Ray, whose memory monitor kills first what can be restarted."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"name": name, "num_cpus": 0, "max_restarts": 0, "scheduling_strategy": here}
    return ray.remote(kind).options(**options).remote(*arguments)
