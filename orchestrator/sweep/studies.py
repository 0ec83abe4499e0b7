"""The studies of a sweep: one for each entry or grid cell, or one with the entry as a choice."""

from __future__ import annotations

from orchestrator.search.sampler import Branch
from orchestrator.search.study import Study
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.structures import find_feasible
from orchestrator.space.study_space import StudySpace

WHOLE_SWEEP = "sweep"


def make_studies(specification: SweepSpecification) -> dict[str, Study]:
    """The studies by name, in the order of the entries."""
    search, directions = specification.search, [objective.direction for objective in specification.objectives]
    spaces = specification.spaces
    if search.per == "sweep":
        branches = [Branch(space, find_feasible(space), prefix=f"{space.name}.") for space in spaces]
        return {WHOLE_SWEEP: Study(WHOLE_SWEEP, search.sampler, branches, search.seed, directions)}
    return {
        space.name: Study(space.name, search.sampler, [Branch(space, find_feasible(space))], search.seed, directions)
        for space in spaces
    }


def study_of(specification: SweepSpecification, space: StudySpace) -> str:
    """The name of the study that searches a space."""
    return WHOLE_SWEEP if specification.search.per == "sweep" else space.name
