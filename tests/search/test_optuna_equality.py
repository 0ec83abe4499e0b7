"""Where no constraint excludes anything, suggestions are those of Optuna's own samplers, byte for byte."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import optuna
import pytest
from search_space_text import study_space

from orchestrator.search.sampler import Branch
from orchestrator.search.study import Direction, Study, Told, suggestion_seed
from orchestrator.space.structures import find_feasible

SPACE = """
task: {name: mqar, vocab_size: {int: [256, 4096], log: true}}
architectures:
  gpt:
    n_layers: {choice: [1, 2, 4]}
    dim: {int: [16, 64], step: 8}
    dk: {int: [3, 40]}
    dv: "${2 * dk}"
    pos: none
    use_ffn: {choice: [true, false]}
    ffn_expand_factor: {int: [1, 6], when: "use_ffn"}
    n_heads: {choice: [2]}
training:
  lr: {float: [1e-4, 1e-1], log: true}
  weight_decay: {float: [0, 0.5]}
  beta1: {float: [0.5, 0.95], step: 0.05}
constraints:
  params: {scope: total, min: 1, max: 4B}
  require: ["dk < 1000", "dim % 8 == 0"]
"""
"""Its hard constraints exclude nothing."""


def define_by_run(trial: optuna.Trial) -> dict[str, Any]:
    """The same space as a user of Optuna writes it; models first, in the order of their fields, what is conditional last."""
    trial.suggest_int("dim", 16, 64, step=8)
    trial.suggest_categorical("n_layers", [1, 2, 4])
    use_ffn = trial.suggest_categorical("use_ffn", ["true", "false"])
    trial.suggest_categorical("n_heads", [2])
    trial.suggest_int("dk", 3, 40)
    trial.suggest_int("task.vocab_size", 256, 4096, log=True)
    trial.suggest_float("training.lr", 1e-4, 1e-1, log=True)
    trial.suggest_float("training.weight_decay", 0, 0.5)
    trial.suggest_float("training.beta1", 0.5, 0.95, step=0.05)
    if use_ffn == "true":
        trial.suggest_int("ffn_expand_factor", 1, 6)
    return dict(trial.params)


def told_about(number: int, dim: int, lr: float, objectives: int = 1) -> Told | None:
    """A mixture of all that can happen to a trial; None is still running. The second objective pulls the other way."""
    value = (dim - 40) ** 2 / 500 + abs(np.log(lr / 3e-3))
    values = (value, -dim * lr)[:objectives]
    match number % 8:
        case 2:
            return Told("PRUNED", None, {1: value + 1, 3: value} if objectives == 1 else {})
        case 3:
            return Told("FAIL")
        case 5:
            return None
        case 6:
            return Told("PRUNED", None, {}, {"diverged": 1.0})
        case 7:
            return Told("COMPLETE", values, {}, {"memory/peak_host_mib <= 300": dim - 40.0})
        case _:
            return Told("COMPLETE", values)


def tell_optuna(study: optuna.Study, trial: optuna.Trial, told: Told) -> None:
    for name, violation in told.constraints.items():
        trial.set_constraint(name, violation)
    for step, value in told.intermediate.items():
        trial.report(value, step)
    study.tell(trial, told.values, state=optuna.trial.TrialState[told.state])


def optunas_own(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.samplers.TPESampler(multivariate=True, seed=seed, warn_independent_sampling=False)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]], ids=["one objective", "two objectives"])
@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_suggestions_are_optunas_own_where_nothing_is_excluded(kind: str, directions: list[Direction], seed: int) -> None:
    space = study_space(SPACE)
    ours = Study("gpt", kind, [Branch(space, find_feasible(space))], seed, directions)
    theirs = optuna.create_study(directions=directions)
    waiting: list[tuple[int, optuna.Trial, Told]] = []
    for number in range(40):
        theirs.sampler = optunas_own(kind, suggestion_seed(seed, "gpt", number))
        trial = theirs.ask()
        expected = define_by_run(trial)
        suggestion = ours.ask()
        assert suggestion is not None and suggestion.labels(ours.branches) == expected
        told = told_about(number, expected["dim"], expected["training.lr"], len(directions))
        if told is None:
            waiting.append((number, trial, Told("COMPLETE", (0.1, 0.0)[: len(directions)])))
            if number < 20:
                continue
            number, trial, told = waiting.pop(0)
        ours.tell(number, told)
        tell_optuna(theirs, trial, told)
    assert len(ours.running) == len(waiting) > 0
    states = Counter(trial.state.name for trial in ours.optuna_study.trials)
    assert states == Counter(trial.state.name for trial in theirs.trials) and states.keys() == {
        "COMPLETE",
        "PRUNED",
        "FAIL",
        "RUNNING",
    }


def test_what_optuna_holds_is_what_was_suggested() -> None:
    """The distributions and parameters of the study are those that Optuna's dashboard would show of a study of its own."""
    space = study_space(SPACE)
    ours = Study("gpt", "tpe", [Branch(space, find_feasible(space))], 0, ["minimize"])
    theirs = optuna.create_study(sampler=optunas_own("tpe", suggestion_seed(0, "gpt", 0)))
    trial = theirs.ask()
    define_by_run(trial)
    ours.ask()
    assert ours.optuna_study.trials[0].distributions == theirs.trials[0].distributions


def kolmogorov_smirnov(values: list[float]) -> float:
    """The largest distance of the empirical distribution from the uniform one on [0, 1]."""
    ordered, steps = np.sort(values), np.arange(len(values) + 1) / len(values)
    return float(max(np.abs(ordered - steps[:-1]).max(), np.abs(ordered - steps[1:]).max()))


def test_random_draws_follow_the_prior() -> None:
    """Each suggestion has a seed of its own; over many of them the draws are uniform on the scale of each dimension."""
    space = study_space(SPACE)
    study = Study("gpt", "random", [Branch(space, find_feasible(space))], 7, ["minimize"])
    suggestions = [study.ask() for _ in range(600)]
    drawn = [suggestion.drawn for suggestion in suggestions if suggestion]
    critical = 1.63 / np.sqrt(len(drawn))  # 1% level
    for name in ("training.lr", "training.weight_decay"):
        dimension = space.searched[name].dimension
        assert kolmogorov_smirnov([dimension.position(values[name]) for values in drawn]) < critical
    for name, size in {"dk": 38, "dim": 7, "n_layers": 3}.items():
        counts = Counter(values[name] for values in drawn)
        assert len(counts) == size
        assert chi_square(list(counts.values()), len(drawn) / size) < upper_chi_square(size - 1)


def test_random_draws_under_a_budget_follow_the_prior_within_it() -> None:
    space = study_space(
        "task: {name: mqar}\nmodel: {dim: 64, n_layers: {choice: [2, 4]}, n_heads: {choice: [1, 2, 4]}}\n"
        "architectures: {unified_kv: {du: {int: [8, 128], step: 4}}}\n"
        "constraints: {params: {scope: block, target: 98560, tolerance: 2%}}\n"
    )
    study = Study("unified_kv", "random", [Branch(space, find_feasible(space))], 0, ["minimize"])
    counts: Counter[str] = Counter()
    for _ in range(300):
        suggestion = study.ask()
        assert suggestion is not None
        counts[repr(sorted(suggestion.drawn.items()))] += 1
    assert len(counts) == 5
    assert chi_square(list(counts.values()), 60) < upper_chi_square(4)


def chi_square(counts: list[int], expected: float) -> float:
    return sum((count - expected) ** 2 / expected for count in counts)


def upper_chi_square(freedom: int) -> float:
    """The 1% point, by Wilson and Hilferty's approximation."""
    return float(freedom * (1 - 2 / (9 * freedom) + 2.326 * np.sqrt(2 / (9 * freedom))) ** 3)
