"""Drives Tune from the controller's first run to its last."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.ray_executor.cluster import ClusterResources, living_resources
from orchestrator.ray_executor.gpus import given_on_gpus
from orchestrator.ray_executor.interruption import Interruption
from orchestrator.ray_executor.resources import Allocation
from orchestrator.ray_executor.silence import Attendance
from orchestrator.ray_executor.width import Width
from orchestrator.sweep.controller import SweepController

if TYPE_CHECKING:
    from orchestrator.ray_executor.bridge import Bridge
    from orchestrator.ray_executor.quarantine import Quarantine

RUNS_IN_A_TUNE_RUN = 500
"""Tune keeps everything of each of its trials for as long as it runs; so many later it starts afresh."""
FALLS_WITHOUT_A_RESULT = 3
"""So many Tune runs in a row may fall before one result has come; then something is wrong that another one does not cure."""

MOST_PENDING = 10_000
"""Trials that Tune lets wait for their resources at once: with its own limit of one an autoscaler would see the demand of one."""


def execute(
    controller: SweepController, allocation: Allocation, tune_folder: Path, tell: Callable[[str], None]
) -> dict[str, float]:
    """Runs until the controller has nothing more to start and all has ended; returns the slowest call of each hook, in s.

    Tune's state is disposable: when a Tune run falls, the runs in flight go on in a fresh one. ``tell`` is told what a person
    should know of the cluster.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was in flight is still in flight in the controller, and where its step ended
            within ``GRACE_S`` it has a checkpoint.
        Exception: whatever the controller raised, such as OSError when the record cannot be written.
    """
    from orchestrator.ray_executor.bridge import Bridge
    from orchestrator.ray_executor.watch import StallWatch

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    resources, interruption, attendance = controller.specification.resources, Interruption(), Attendance()
    with interruption.watched(), contextlib.ExitStack() as stack:
        reserver, quarantine = given_on_gpus(controller, allocation, tell)
        if quarantine is not None:
            stack.enter_context(quarantine)
        watch = stack.enter_context(StallWatch(resources.stall_timeout, attendance))
        width = Width(resources.concurrency, functools.partial(_free_of_quarantine, quarantine))
        bridge = Bridge(controller, reserver, width, interruption, attendance, watch, quarantine)
        _run_tune_until_done(bridge, tune_folder)
    if interruption.requested:
        raise KeyboardInterrupt
    return bridge.slowest_call_s


def _free_of_quarantine(quarantine: Quarantine | None) -> ClusterResources:
    """What runs may have of the living nodes."""
    there = living_resources()
    return there if quarantine is None else dataclasses.replace(there, gpus=there.gpus - quarantine.held_gpus)


def _run_tune_until_done(bridge: Bridge, tune_folder: Path) -> None:
    falls, results = 0, -1
    while not bridge.interruption.requested:
        try:
            _run_tune(bridge, tune_folder)
            if not bridge.in_flight and bridge.controller.is_over:
                return
            bridge.fell(RuntimeError("Tune ended without a word about this run"))
        except Exception as crash:
            if bridge.error is not None:
                raise bridge.error from None
            falls, results = falls + 1 if bridge.results == results else 1, bridge.results
            if falls >= FALLS_WITHOUT_A_RESULT:
                raise
            bridge.fell(crash)


def _run_tune(bridge: Bridge, tune_folder: Path) -> None:
    from ray import tune

    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(MOST_PENDING)  # how many wait is decided by the bridge
    from orchestrator.ray_executor.hooks import SweepCallback, SweepScheduler, SweepSearcher
    from trainables.ray_trainable import SweepTrainable

    tuner = tune.Tuner(
        tune.with_resources(SweepTrainable, _resources),
        tune_config=tune.TuneConfig(
            search_alg=SweepSearcher(bridge),
            scheduler=SweepScheduler(bridge),
            num_samples=RUNS_IN_A_TUNE_RUN,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=uuid.uuid4().hex[:8],
            storage_path=str(tune_folder.resolve()),
            failure_config=tune.FailureConfig(max_failures=0),
            callbacks=[SweepCallback(bridge)],
            verbose=0,
        ),
    )
    tuner.fit()


def _resources(configuration: Mapping[str, Any]) -> Any:
    """Of each trial its own: Tune hands a process on to the next trial that asks for the same."""
    from ray.tune import PlacementGroupFactory

    from orchestrator.ray_executor.bridge import CPUS, GPUS

    return PlacementGroupFactory([{"CPU": configuration[CPUS], "GPU": configuration[GPUS]}])
