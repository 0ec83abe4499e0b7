"""What is wrong with a cluster for a sweep, in words for the one who started it."""

from __future__ import annotations


class ResourceError(Exception):
    """A run asks for more than the cluster has, the objective for what it does not have, or the cluster cannot be used at all."""


class StageFailed(RuntimeError):
    """Something that runs share could not be made, so that none of them can begin."""
