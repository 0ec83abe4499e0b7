"""A sweep whose storage is behind a URI: the record in segments, one driver at a time, a working copy on the driver's machine."""

from orchestrator.storage.lease import LeaseLost, SweepInUse
from orchestrator.storage.place import StoredSweeps, sweeps_at
from orchestrator.storage.upkeep import Upkeep

__all__ = ["LeaseLost", "StoredSweeps", "SweepInUse", "Upkeep", "sweeps_at"]
