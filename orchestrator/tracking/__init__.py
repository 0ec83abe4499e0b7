"""Recording of sweeps in MLflow through a durable spool, off the control loop."""

from orchestrator.tracking.spool import SpoolInUseError
from orchestrator.tracking.store import RUN_KEY_TAG, StoreLocation
from orchestrator.tracking.tracker import FinalStatus, Tracker, local_location

__all__ = ["RUN_KEY_TAG", "FinalStatus", "SpoolInUseError", "StoreLocation", "Tracker", "local_location"]
