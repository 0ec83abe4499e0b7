"""Runs a sweep to its end, from its specification or from its record, and delivers what MLflow has not got yet."""

from orchestrator.launch.new_sweep import launch
from orchestrator.launch.observer import SweepObserver
from orchestrator.launch.options import LaunchOptions, LaunchResult, SweepExists, TrackingElsewhere
from orchestrator.launch.resumption import resume
from orchestrator.launch.synchronization import SyncResult, synchronize

__all__ = [
    "LaunchOptions",
    "LaunchResult",
    "SweepExists",
    "SweepObserver",
    "SyncResult",
    "TrackingElsewhere",
    "launch",
    "resume",
    "synchronize",
]
