"""The summary of a sweep whose runs have exhibits: a model a row, its loss, its size, and a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from orchestrator.report.cells import MISSING, Table, number, parameter, reported_metrics, with_spread
from orchestrator.report.collect import SweepData, TrialSummary, best_trials
from orchestrator.report.exhibits import RowExhibits, shown_exhibits
from orchestrator.report.table import describe_objective
from orchestrator.space.study_space import StudySpace
from orchestrator.space.value import Constant

LR = "training.lr"


def summary_table(data: SweepData, exhibits: Sequence[RowExhibits] | None = None, prefix: str = "") -> Table | None:
    """``model | loss | persistence ratio | stored | lr | picture``, the best first; None where no best run has exhibits.

    The second column is the first objective, the third the first metric that the task reports beside it, where it does.
    ``prefix`` stands before the paths of the pictures.
    """
    exhibits = shown_exhibits(data) if exhibits is None else exhibits
    if not exhibits:
        return None
    bests = best_trials(data)
    reported = reported_metrics(data, bests)[:1]
    header = ["model", _title(data), *map(_words, reported), "stored", "lr", "picture"]
    pictures = _pictures(exhibits)
    rows = [
        [
            model_name(data, best),
            with_spread(best.first),
            *(number(best.metric(metric)) for metric in reported),
            number(best.metric("params/stored")),
            parameter(best.trial.configuration["training"].get("lr")),
            _links(pictures.get(best.row, {}), prefix),
        ]
        for best in bests
    ]
    return Table(header, rows, _note(data))


def summary_json(data: SweepData, exhibits: Sequence[RowExhibits] | None = None) -> list[dict[str, Any]]:
    """The same as values, with the whole name of each metric; paths of pictures are those beside the tables."""
    shown = {row.row: row for row in (shown_exhibits(data) if exhibits is None else exhibits)}
    bests = best_trials(data)
    return [_row_json(data, best, bests, shown.get(best.row)) for best in bests] if shown else []


def model_name(data: SweepData, best: TrialSummary) -> str:
    """The row with what it was found with, such as ``vq_ln_mlp (codebook_size 32, dim 8)``; ``lr`` has a column of its own."""
    space = next(space for space in data.specification.spaces if space.name == best.row)
    shown = []
    for name in _varying(data, space):
        scope, _, leaf = name.rpartition(".")
        values = best.trial.configuration[scope or "model"]
        if values.get(leaf) is not None:
            shown.append(f"{leaf} {parameter(data.shown(values[leaf]))}")
    return best.row + (f" ({', '.join(shown)})" if shown else "")


def _row_json(data: SweepData, best: TrialSummary, bests: Sequence[TrialSummary], exhibits: RowExhibits | None) -> dict[str, Any]:
    return {
        "row": best.row,
        "model": model_name(data, best),
        "trial": best.trial.id,
        "run": exhibits.run.id if exhibits else None,
        data.specification.objective.metric: best.first.value,
        "spread": best.first.spread,
        **{metric: best.metric(metric) for metric in reported_metrics(data, bests)},
        "params/stored": best.metric("params/stored"),
        "lr": best.trial.configuration["training"].get("lr"),
        "pictures": exhibits.copied_names() if exhibits else {},
    }


def _varying(data: SweepData, space: StudySpace) -> list[str]:
    """The fields that the space names for a row and that are searched, or that another row has with another value; what the
    row's name tells is not repeated."""
    found = []
    for name, field in space.fields.items():
        others = [other.fields[name].value for other in data.specification.spaces if name in other.fields]
        varies = not isinstance(field.value, Constant) or any(other != field.value for other in others)
        if field.written and varies and name != LR and name not in space.grid:
            found.append(name)
    return found


def _title(data: SweepData) -> str:
    """``loss`` for what is measured on data and better where smaller; anything else by its name."""
    objective = data.specification.objective
    is_loss = objective.mode == "min" and objective.metric.startswith(("val/", "train/"))
    return "loss" if is_loss else objective.metric


def _words(metric: str) -> str:
    return metric.rpartition("/")[2].replace("_", " ")


def _pictures(exhibits: Sequence[RowExhibits]) -> dict[str, dict[str, str]]:
    """The pictures of each row by name, those first that most rows have: in a column, like stands below like."""
    having = Counter(name for shown in exhibits for name in shown.copied_names())
    return {
        shown.row: dict(sorted(shown.copied_names().items(), key=lambda named: (-having[named[0]], named[0])))
        for shown in exhibits
    }


def _links(pictures: dict[str, str], prefix: str) -> str:
    return " ".join(f"[{_words(name)}]({prefix}{path})" for name, path in pictures.items()) or MISSING


def _note(data: SweepData) -> str:
    parts = [f"The best trial of each row by {describe_objective(data.specification.objective)}"]
    if data.specification.search.replicates > 1:
        parts.append(f"mean ± standard deviation of {data.specification.search.replicates} seeds, pictures of the best of them")
    return "; ".join([*parts, "stored: parameters, buffers and what is kept outside the module"]) + "."
