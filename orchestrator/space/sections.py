"""The sections of a search space that are not about the model: typed, so that keys, schema and errors follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainables.configuration import Configuration, Rule, hyperparameter
from trainables.counts import SCOPES

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NAME_RULE = "letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit"


MOST_OBJECTIVES = 8
"""A sweep may have so many: among points with more coordinates hardly any is worse than another in all of them."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfiguration(Configuration):
    """``objective``: what is optimised; a list of these makes a sweep with several objectives."""

    metric: str | None = hyperparameter(None, "the metric that trials are compared by; null: the first of the task")
    mode: Literal["min", "max"] | None = hyperparameter(None, "smaller or larger is better; null: what is natural for the metric")
    at: Literal["last", "best"] = hyperparameter("last", "a trial's value: at its last step, or its best")


@dataclass(frozen=True, kw_only=True)
class SearchConfiguration(Configuration):
    """``search``: how configurations are chosen, and how many."""

    sampler: Literal["tpe", "random", "grid", "gp", "nsga2"] = hyperparameter("tpe", "how configurations are suggested")
    trials: int | None = hyperparameter(None, "trials of each study; null: 20, with `sampler: grid` all of them", minimum=1)
    per: Literal["entry", "sweep"] = hyperparameter("entry", "a study for each entry (fair), or one with the entry as a choice")
    seed: int = hyperparameter(0, "seed of suggestions and of the runs", minimum=0)
    replicates: int = hyperparameter(1, "runs of each trial, with seeds seed + 0, 1, …", minimum=1)
    warm_start: list[str] = hyperparameter([], "earlier sweeps whose trials the sampler is told first")


@dataclass(frozen=True, kw_only=True)
class SchedulerConfiguration(Configuration):
    """``scheduler``: the stopping rule, over the runs of one study."""

    name: Literal["none", "asha", "median"] = hyperparameter("none", "the stopping rule")
    grace_period: int = hyperparameter(1, "epochs (or steps) before any run may be stopped", minimum=1)
    reduction_factor: float = hyperparameter(3.0, "asha: one in so many goes on at each rung", above=1)
    brackets: int = hyperparameter(1, "asha: ladders of rungs with later starts that members join in turn", minimum=1)
    min_samples: int = hyperparameter(3, "median: other runs needed at an epoch before one is stopped", minimum=1)


def _is_number_of_gpus(gpus: float | str | None) -> bool:
    return not isinstance(gpus, (int, float)) or gpus <= 1 or float(gpus).is_integer()


@dataclass(frozen=True, kw_only=True)
class ResourcesConfiguration(Configuration):
    """``resources``: what each run asks Ray for."""

    cpu: float = hyperparameter(1.0, "CPU cores of a run", above=0)
    gpu: float | Literal["auto"] = hyperparameter(
        "auto", "GPUs of a run; auto: the share of one that its memory needs, where the cluster has any", minimum=0
    )
    gpu_memory_mib: float | None = hyperparameter(
        None,
        "usable memory of a GPU in MiB, where it cannot be asked: a cluster that has no GPU yet, or no NVML; null: what is asked",
        above=0,
    )
    concurrency: int | Literal["auto"] = hyperparameter("auto", "runs at once; auto: as many as the cluster holds", minimum=1)
    shared_cpu: float | None = hyperparameter(
        None, "CPU cores of a process that makes what runs share, such as a base model; null: as a run", above=0
    )
    shared_gpu: float | None = hyperparameter(None, "GPUs of such a process; null: as a run", minimum=0)
    fusion: bool | Literal["auto"] = hyperparameter("auto", "train runs that differ in lr or seed in one process")
    stall_timeout: float = hyperparameter(600.0, "seconds of silence after which a worker counts as died", above=0)
    rules = (
        Rule(lambda c: _is_number_of_gpus(c.gpu), "`gpu` is a share of one, or a whole number: Ray gives no share of several"),
        Rule(lambda c: _is_number_of_gpus(c.shared_gpu), "`shared_gpu` is a share of one GPU, or a whole number"),
    )


@dataclass(frozen=True, kw_only=True)
class CheckpointsConfiguration(Configuration):
    """``checkpoints``: what is kept of each run."""

    keep: Literal["best", "last", "none"] = hyperparameter("last", "which checkpoint of a run is kept when it has ended")
    interval: float = hyperparameter(30.0, "seconds between two checkpoints of a run: what a death can cost", above=0)


@dataclass(frozen=True, kw_only=True)
class TrackingConfiguration(Configuration):
    """``tracking``: where MLflow shows the runs."""

    experiment: str | None = hyperparameter(None, "MLflow experiment; null: the name of the sweep")


@dataclass(frozen=True, kw_only=True)
class ParameterBudgetConfiguration(Configuration):
    """``constraints.params``: the window of parameter counts that every trial meets."""

    scope: Literal["block", "total", "trainable", "embedding", "buffers", "external", "stored"] = hyperparameter(
        "total", "which parameters are counted"
    )
    target: int | None = hyperparameter(None, "the count aimed at, with `tolerance` around it", minimum=0)
    tolerance: float = hyperparameter(0.02, "share of the target allowed above and below, such as 2%", minimum=0, maximum=1)
    min: int | None = hyperparameter(None, "smallest count allowed", minimum=0)
    max: int | None = hyperparameter(None, "largest count allowed", minimum=0)
    rules = (
        Rule(
            lambda c: (c.target is not None) != (c.min is not None or c.max is not None),
            "give either `target` (with `tolerance`) or `min` and/or `max`",
        ),
        Rule(lambda c: c.min is None or c.max is None or c.min <= c.max, "`min` lies above `max`: swap them"),
    )


assert set(SCOPES) == {"block", "total", "trainable", "embedding", "buffers", "external", "stored"}


@dataclass(frozen=True, kw_only=True)
class MeasuredConfiguration(Configuration):
    """One line of ``constraints.measured``: a soft constraint, learned by the sampler."""

    metric: str = hyperparameter("", "a measured metric, such as vram/peak_reserved_mib")
    max: float | None = hyperparameter(None, "largest value that is acceptable")
    min: float | None = hyperparameter(None, "smallest value that is acceptable")
    rules = (
        Rule(lambda c: bool(c.metric), "name a `metric`, such as vram/peak_reserved_mib"),
        Rule(lambda c: c.min is not None or c.max is not None, "give `max` and/or `min`: without one nothing is constrained"),
    )


SECTIONS: dict[str, type[Configuration]] = {
    "objective": ObjectiveConfiguration,
    "search": SearchConfiguration,
    "scheduler": SchedulerConfiguration,
    "resources": ResourcesConfiguration,
    "checkpoints": CheckpointsConfiguration,
    "tracking": TrackingConfiguration,
}
