"""Search spaces of tests, written as the YAML that a user would type."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestrator.space.reading import read_search_space
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.study_space import StudySpace


def specified(text: str) -> SweepSpecification:
    """The sweep that a YAML text describes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.yaml"
        path.write_text(text)
        return read_search_space(path)


def study_space(text: str) -> StudySpace:
    """The space of a sweep that has one study."""
    (space,) = specified(text).spaces
    return space
