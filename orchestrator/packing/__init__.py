"""What each run asks of the cluster, and how many runs fit on a GPU; without Ray."""

from orchestrator.packing.assembly import make_reserver
from orchestrator.packing.capacity import GpuMemory
from orchestrator.packing.reservation import FixedReserver, Reservation, Reserver

__all__ = ["FixedReserver", "GpuMemory", "Reservation", "Reserver", "make_reserver"]
