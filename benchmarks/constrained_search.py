"""Search under a parameter budget: feasible by construction, beside Optuna's TPE that learns the budget as a constraint.

Two questions about one space of 122,880 structures, of which 1,194 lie within 2% of 98,560 block parameters:

* how many suggestions lie inside the budget, and how long one takes;
* how near the best of 60 trials comes to a known optimum, over several seeds, for our sampler, for TPE with
  ``trial.set_constraint`` and for uniform draws from the feasible set.

Run ``python -m benchmarks.constrained_search [--output PATH] [--seeds N]``.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks._machine import RESULTS, provenance, write_results
from orchestrator.search.sampler import Branch
from orchestrator.search.study import Study, Told
from orchestrator.space.reading import read_search_space
from orchestrator.space.structures import FeasibleStructures, find_feasible
from orchestrator.space.study_space import StudySpace

SPACE = """\
name: constrained-search
task: {name: mqar}
architectures:
  gpt:
    n_layers: {int: [1, 8]}
    dim: {int: [32, 256], step: 16}
    n_heads: {choice: [1, 2, 4, 8]}
    dk: {int: [8, 128], step: 8}
    dv: {int: [8, 128], step: 8}
training: {lr: {float: [1e-4, 1e-1], log: true}}
constraints: {params: {scope: block, target: 98560, tolerance: 2%}}
objective: {metric: val/loss, mode: min}
"""
STRUCTURES = 122_880
FEASIBLE = 1_194
TRIALS = 60
CONSTRAINED_TRIALS = 300
DEFAULT_OUTPUT = RESULTS / "constrained_search.json"

Draw = Mapping[str, Any]


def benchmark_space() -> StudySpace:
    """The space of this benchmark, read as any other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.yaml"
        path.write_text(SPACE)
        return read_search_space(path).spaces[0]


@dataclass(frozen=True)
class Landscape:
    """A smooth objective with a known minimum of 0 at ``optimum``, a feasible configuration.

    The squared distance to it in the normalised dimensions (choices by rank, lr in the logarithm), each with a weight of its own,
    so that some dimensions matter more than others.
    """

    space: StudySpace
    optimum: Draw
    weights: Mapping[str, float]

    def value(self, drawn: Draw) -> float:
        return sum(
            weight * (self._position(name, drawn) - self._position(name, self.optimum)) ** 2
            for name, weight in self.weights.items()
        )

    def _position(self, name: str, drawn: Draw) -> float:
        return self.space.searched[name].dimension.position(drawn[name])


def landscape(structures: FeasibleStructures, seed: int) -> Landscape:
    """The objective of one seed: the optimum is a feasible structure drawn uniformly, the weights lie between 0.25 and 4."""
    generator = np.random.default_rng(seed)
    space = structures.space
    optimum = structures.row(int(generator.integers(len(structures))))
    for name, searched in space.searched.items():
        if name not in optimum:
            optimum[name] = float(searched.dimension.column(np.array([generator.integers(100, 925)]))[0])
    weights = {name: float(4.0 ** generator.uniform(-1, 1)) for name in space.searched}
    return Landscape(space, optimum, weights)


def search_by_construction(structures: FeasibleStructures, objective: Landscape, seed: int) -> float:
    """The smallest value of 60 suggestions of our TPE, all of which meet the budget."""
    study = Study("gpt", "tpe", [Branch(structures.space, structures)], seed, ["minimize"])
    best = math.inf
    for number in range(TRIALS):
        suggestion = study.ask()
        assert suggestion is not None
        value = objective.value(suggestion.drawn)
        study.tell(number, Told("COMPLETE", (value,)))
        best = min(best, value)
    return best


def search_with_constraint(structures: FeasibleStructures, objective: Landscape, seed: int) -> float:
    """The smallest feasible value of 60 trials of Optuna's TPE that is told every value and how far the budget is missed.

    Where no trial meets the budget: the bound of the objective's values.
    """
    best = sum(objective.weights.values())
    for drawn, feasible in constrained_trials(structures.space, TRIALS, seed, objective.value):
        if feasible:
            best = min(best, objective.value(drawn))
    return best


def search_uniformly(structures: FeasibleStructures, objective: Landscape, seed: int) -> float:
    """The smallest value of 60 uniform draws from the feasible set."""
    generator = np.random.default_rng([seed, 1])  # another stream than the one that chose the optimum
    best = math.inf
    for _ in range(TRIALS):
        drawn = structures.row(int(generator.integers(len(structures))))
        for name, searched in structures.space.searched.items():
            if name not in drawn:
                low, high = searched.dimension.low, searched.dimension.high  # type: ignore[union-attr]
                drawn[name] = float(low * (high / low) ** generator.random())
        best = min(best, objective.value(drawn))
    return best


def constrained_trials(space: StudySpace, trials: int, seed: int, objective: Callable[[Draw], float]) -> list[tuple[Draw, bool]]:
    """What TPE with ``trial.set_constraint`` suggests, and whether it meets the budget."""
    from orchestrator.space.assignment import Assignment

    assert space.budget is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))
    found = []
    for _ in range(trials):
        trial = study.ask({name: searched.dimension.distribution for name, searched in space.searched.items()})
        drawn = dict(trial.params)
        missed = space.budget.distance(space.budget_count(Assignment(space.fields, drawn)))
        trial.set_constraint("budget", float(missed))
        study.tell(trial, objective(drawn))
        found.append((drawn, space.is_feasible(drawn)))
    return found


def latency(trials: int = TRIALS) -> dict[str, Any]:
    """Seconds to each suggestion, enumeration included in the first, and how many of them meet the budget."""
    space = benchmark_space()
    started = time.perf_counter()
    structures = find_feasible(space)
    objective = landscape(structures, 0)
    study = Study("gpt", "tpe", [Branch(space, structures)], 0, ["minimize"])
    seconds, inside = [], 0
    for number in range(trials):
        suggestion = study.ask()
        seconds.append(time.perf_counter() - started)
        assert suggestion is not None
        inside += space.is_feasible(suggestion.drawn)
        study.tell(number, Told("COMPLETE", (objective.value(suggestion.drawn),)))
        started = time.perf_counter()
    return {"trials": trials, "inside": inside, "first_s": seconds[0], "median_s": statistics.median(seconds)}


def quality(structures: FeasibleStructures, seeds: int) -> dict[str, list[float]]:
    """Regret after 60 trials by strategy, one number a seed."""
    strategies = {
        "by construction": search_by_construction,
        "set_constraint": search_with_constraint,
        "uniform feasible": search_uniformly,
    }
    return {
        name: [search(structures, landscape(structures, seed), seed) for seed in range(seeds)]
        for name, search in strategies.items()
    }


def measure(seeds: int) -> dict[str, Any]:
    """All results as plain JSON values."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = benchmark_space()
    structures = find_feasible(space)
    objective = landscape(structures, 0)
    feasible_of_constrained = sum(ok for _, ok in constrained_trials(space, CONSTRAINED_TRIALS, 0, objective.value))
    regrets = quality(structures, seeds)
    ours = statistics.median(regrets["by construction"])
    return {
        **provenance("optuna", "numpy", "memsweep"),
        "structures": structures.structures,
        "feasible": structures.feasible,
        "ours": latency(),
        "set_constraint": {"trials": CONSTRAINED_TRIALS, "inside": feasible_of_constrained},
        "regret_after": TRIALS,
        "regrets": regrets,
        "median_regret": {name: statistics.median(values) for name, values in regrets.items()},
        "regret_ratio_to_ours": {name: statistics.median(values) / ours for name, values in regrets.items()},
    }


def table(results: Mapping[str, Any]) -> str:
    """The results as text."""
    ours, theirs = results["ours"], results["set_constraint"]
    lines = [
        f"{results['structures']:,} structures, {results['feasible']:,} within the budget; {results['device']}",
        "",
        f"{'inside the budget':<24}{'share':>8}{'ratio':>9}",
    ]
    share, other = ours["inside"] / ours["trials"], theirs["inside"] / theirs["trials"]
    lines += [
        f"{'by construction':<24}{share:>8.1%}{1:>8.2f}x",
        f"{'set_constraint':<24}{other:>8.1%}{other / share:>8.2f}x",
        "",
        f"first suggestion {ours['first_s']:.3f} s (enumeration included), median {1e3 * ours['median_s']:.1f} ms",
        "",
        f"{'median regret':<24}{'regret':>8}{'ratio':>9}",
    ]
    for name, regret in results["median_regret"].items():
        lines.append(f"{name:<24}{regret:>8.4f}{results['regret_ratio_to_ours'][name]:>8.2f}x")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    results = measure(arguments.seeds)
    write_results(arguments.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
