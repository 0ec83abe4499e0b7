"""Drives one Tune run from the controller's first run to its last."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

from orchestrator.ray_executor.resources import Allocation
from orchestrator.sweep.controller import SweepController

RESTARTS_AFTER_DEATH = 3


def execute(controller: SweepController, allocation: Allocation, tune_folder: Path) -> dict[str, float]:
    """Runs until the controller has nothing more to start and all has ended; returns the slowest call of each hook, in s.

    Raises:
        KeyboardInterrupt: Ctrl-C; what was in flight is still in flight in the controller.
    """
    from ray import tune

    from orchestrator.ray_executor.bridge import Bridge
    from orchestrator.ray_executor.hooks import SweepScheduler, SweepSearcher
    from trainables.ray_trainable import SweepTrainable

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    bridge = Bridge(controller, allocation.cpus)
    trainable = tune.with_resources(SweepTrainable, {"cpu": allocation.cpus, "gpu": allocation.gpus})
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=SweepSearcher(bridge),
            scheduler=SweepScheduler(bridge),
            num_samples=-1,
            max_concurrent_trials=allocation.concurrency,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=uuid.uuid4().hex[:8],
            storage_path=str(tune_folder.resolve()),
            failure_config=tune.FailureConfig(max_failures=RESTARTS_AFTER_DEATH),
            verbose=0,
        ),
    )
    tuner.fit()
    return bridge.slowest_call_s
