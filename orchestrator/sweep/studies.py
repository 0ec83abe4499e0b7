"""The studies of a sweep: one for each entry or grid cell, or one with the entry as a choice."""

from __future__ import annotations

from orchestrator.search.sampler import Branch
from orchestrator.search.study import Study
from orchestrator.space.specification import SweepSpecification
from orchestrator.space.structures import find_feasible

WHOLE_SWEEP = "sweep"


def make_studies(specification: SweepSpecification) -> dict[str, Study]:
    """The studies by name, in the order of the entries."""
    search, direction = specification.search, specification.objective.direction
    spaces = specification.spaces
    if search.per == "sweep":
        branches = [Branch(space, find_feasible(space), prefix=f"{space.name}.") for space in spaces]
        return {WHOLE_SWEEP: Study(WHOLE_SWEEP, search.sampler, branches, search.seed, direction)}
    return {
        space.name: Study(space.name, search.sampler, [Branch(space, find_feasible(space))], search.seed, direction)
        for space in spaces
    }
