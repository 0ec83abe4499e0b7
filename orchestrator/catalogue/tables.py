"""The list and the counts as tables that fit 80 columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.catalogue.counting import CountReport

_WIDEST = 120
_SIGNS = {"minimum": ">=", "above": ">", "maximum": "<="}


def print_tables(tables: Iterable[RenderableType]) -> None:
    """Writes to stdout: plain where that is no terminal, never wider than reads well."""
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = min(console.width, _WIDEST)
    for table in tables:
        console.print(table)


def catalogue_tables(catalogue: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What :func:`list_catalogue` tells, one table for each architecture, task and section."""
    absent = catalogue["not_available_yet"]
    for group in ("architectures", "tasks", "sections"):
        yield Text(f"{group.upper()}\n", style="bold")
        for name, described in catalogue[group].items():
            yield _heading(name, described)
            yield from _details(described)
        if absent.get(group):
            yield Text(f"Reserved, not available yet: {', '.join(absent[group])}\n", style="dim")


def count_tables(report: CountReport) -> Iterator[RenderableType]:
    """The counts by scope, then by module."""
    yield _numbers("scope", report.params)
    yield Text()
    yield _numbers("module", report.modules)


def shown_range(bounds: Mapping[str, float]) -> str:
    """``(>= 1)``, ``(> 0, <= 1)``; empty for a field without bounds."""
    parts = [f"{sign} {bounds[name]:g}" for name, sign in _SIGNS.items() if name in bounds]
    return f"({', '.join(parts)})" if parts else ""


def _heading(name: str, described: Mapping[str, Any]) -> Text:
    text = Text(name, style="bold cyan")
    if "kind" in described:
        text.append(f" ({described['kind']})", style="not bold")
    if described.get("summary"):
        text.append(f": {described['summary']}", style="not bold default")
    return text


def _details(described: Mapping[str, Any]) -> Iterator[RenderableType]:
    for key, title in (("metrics", "metrics"), ("final_metrics", "at the end of a run")):
        if described.get(key):
            modes = [f"{metric} ({mode})" for metric, mode in described[key].items()]
            yield _indented(f"{title}: {', '.join(modes)}")
    if described.get("training_defaults"):
        values = [f"{name} {_shown_value(value)}" for name, value in described["training_defaults"].items()]
        yield _indented(f"training defaults: {', '.join(values)}")
    yield _fields(described["hyperparameters"])
    for rule in described["rules"]:
        yield _indented(f"rule: {rule}")
    yield Text()


def _fields(hyperparameters: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("  hyperparameter", no_wrap=True)
    table.add_column("type, range", max_width=20)
    table.add_column("default", max_width=12, overflow="fold")
    table.add_column("meaning")
    for name, field in hyperparameters.items():
        kind = f"{field['type']} {shown_range(field['range'])}".rstrip()
        table.add_row(f"  {name}", kind, _shown_value(field["default"]), field["meaning"])
    return table


def _numbers(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column(title, overflow="fold")
    table.add_column("parameters", justify="right", no_wrap=True)
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    return table


def _indented(text: str) -> RenderableType:
    return Padding(Text(text, style="dim"), (0, 0, 0, 2))


def _shown_value(value: Any) -> str:
    """A default as it is written in YAML."""
    return value if isinstance(value, str) and value else json.dumps(value)
