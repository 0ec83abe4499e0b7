"""A program: a sweep in a Ray whose memory monitor kills what grows; the first argument is the storage folder."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
BEYOND_WHAT_IS_USED = 3 * 2**30
"""Bytes that a run may grow by before the monitor kills it; others on this machine may grow a little meanwhile."""


def threshold() -> float:
    """The share of this machine's memory that is in use, and ``BEYOND_WHAT_IS_USED``."""
    kib = {line.split(":")[0]: int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()}
    return 1 - kib["MemAvailable"] / kib["MemTotal"] + BEYOND_WHAT_IS_USED / (kib["MemTotal"] * 1024)


def main(storage: Path) -> None:
    os.environ |= {"RAY_memory_usage_threshold": f"{threshold():.4f}", "RAY_memory_monitor_refresh_ms": "100"}
    from orchestrator.ray_executor.security import closed_ray

    with closed_ray():
        import faulty
        import ray
        from small_sweeps import run_sweep, small_space

        faulty.register()
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": {"PYTHONPATH": str(HERE)}, "worker_process_setup_hook": "faulty.register"},
        )
        document = small_space(
            name="memory",
            architectures={
                "grows": {"architecture": "faulty", "fault": "memory_grows"},
                "plain": {"architecture": "gpt", "training": {"lr": {"float": [1e-4, 1e-2], "log": True}}},
            },
            model={"dim": 8, "n_layers": 1, "n_heads": 1, "dk": 8, "dv": 8},
            constraints=None,
            checkpoints={"interval": 1e-6},
        )
        run_sweep(storage, document)
        ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
