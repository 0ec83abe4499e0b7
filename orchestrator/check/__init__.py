"""Checking a search space without running anything: mistakes, feasible volume, examples, what is nearest."""

from orchestrator.check.feasibility import EntryCheck, check_feasibility

__all__ = ["EntryCheck", "check_feasibility"]
