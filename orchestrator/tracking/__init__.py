"""Recording of sweeps in MLflow through a durable spool, off the control loop."""

from orchestrator.outcome import FinalStatus
from orchestrator.tracking.spool import SpoolInUseError
from orchestrator.tracking.store import RUN_KEY_TAG, StoreLocation
from orchestrator.tracking.tracker import Tracker

__all__ = ["RUN_KEY_TAG", "FinalStatus", "SpoolInUseError", "StoreLocation", "Tracker"]
