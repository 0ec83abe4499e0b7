"""From a positioned document to a :class:`SweepSpecification`; every mistake becomes a diagnostic with its place."""

from orchestrator.space.reading.sweep import read_search_space, read_search_space_text

__all__ = ["read_search_space", "read_search_space_text"]
