"""Reads ``objective``: one ``{metric, mode, at}``, or a list of them, which makes a sweep with several objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.document import Node, child_path, did_you_mean
from orchestrator.space.metrics import objective_metrics
from orchestrator.space.reading.context import Context
from orchestrator.space.reading.section import read_section
from orchestrator.space.sections import MOST_OBJECTIVES, ObjectiveConfiguration
from orchestrator.space.specification import Objective
from trainables.task import Mode, Task

_FORM = "{metric: …, mode: …}"


def read_objectives(context: Context, root: Node, task_type: type[Task] | None) -> tuple[Objective, ...]:
    """What trials are compared by, in the order of the text; where there are mistakes, they are reported.

    Without a task nothing is known of its metrics: then only the form is checked, and nothing returned.
    """
    node = root.get("objective")
    known = objective_metrics(task_type) if task_type else {}
    found: dict[str, Objective] = {}
    for path, item in _items(context, node):
        mistakes = len(context.diagnostics)
        section = read_section(context, item, path, ObjectiveConfiguration)
        if task_type is None or len(context.diagnostics) > mistakes:
            continue
        metric, place = section.metric or next(iter(known)), _place(item) or root
        if metric in found:
            message = f"`{metric}` is an objective already: each metric may be one once"
            context.error(place, child_path(path, "metric"), message, "leave one of them out, or name another metric")
        elif _is_known(context, place, path, metric, task_type, known):
            found[metric] = Objective(metric, section.mode or known[metric], section.at)
    return tuple(found.values())


def check_stopping(
    context: Context, root: Node, task_type: type[Task] | None, objectives: Sequence[Objective], scheduler: str
) -> None:
    """Refuses a stopping rule over an objective that is measured at the end alone, when nothing is left to stop."""
    if task_type is None or not objectives or scheduler == "none" or objectives[0].metric not in task_type.final_metrics:
        return
    path, item = _items(context, root.get("objective"))[0]
    each = next((metric for metric in task_type.metrics if metric not in task_type.final_metrics), "one of every epoch")
    message = f"`{objectives[0].metric}` is measured at the end of a run: `scheduler: {scheduler}` has nothing to go by"
    hint = f"let the first objective be one of every epoch, such as `{each}`, or write scheduler: none"
    context.error(_place(item) or root, child_path(path, "metric"), message, hint)


def _items(context: Context, node: Node | None) -> list[tuple[str, Node | None]]:
    """Each objective with its path; a single one, or none written, is one item."""
    if node is None or not isinstance(node.value, list):
        return [("objective", node)]
    if not node.items:
        context.error(node, "objective", "the list of objectives is empty", f"write one {_FORM} or several, or leave it out")
    if len(node.items) > MOST_OBJECTIVES:
        message = f"{len(node.items)} objectives are more than the {MOST_OBJECTIVES} that are possible"
        context.error(node.items[MOST_OBJECTIVES], "objective", message, "among so many hardly any trial is worse than another")
        return []
    return [(child_path("objective", index), item) for index, item in enumerate(node.items)]


def _place(item: Node | None) -> Node | None:
    return (item.get("metric") if item else None) or item


def _first(task_type: type[Task]) -> list[str]:
    return [f"`{metric}`" for metric in list(task_type.metrics)[:3]]


def _is_known(context: Context, place: Node, path: str, metric: str, task_type: type[Task], known: Mapping[str, Mode]) -> bool:
    if metric in known:
        return True
    row = next((name for name in task_type.position_metrics if metric == name or metric.startswith(f"{name}/")), None)
    if row is not None:
        message = f"`{metric}` is of the row `{row}`, which is measured along the sequence: none of it can be an objective"
        hint = f"name one of the whole, such as {', '.join(_first(task_type))}"
        context.error(place, child_path(path, "metric"), message, hint)
        return False
    near = did_you_mean(metric, known)
    hint = f"did you mean `{near}`?" if near else f"known: {', '.join(known)}"
    context.error(place, child_path(path, "metric"), f"the task `{task_type.name}` has no metric `{metric}`", hint)
    return False
