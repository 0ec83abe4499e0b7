"""What each run asks of the cluster, and how many runs fit on a GPU; without Ray."""

from orchestrator.packing.reservation import FixedReserver, Reservation, Reserver

__all__ = ["FixedReserver", "Reservation", "Reserver"]
