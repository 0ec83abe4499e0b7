"""``check`` and ``plan``: what a search space says, and what running it would mean."""

from __future__ import annotations

import json
import sys
from itertools import starmap
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.command_line.errors import DONE, WRONG_INPUT


def register(app: typer.Typer) -> None:
    app.command("check")(check)
    app.command("plan")(plan)


Space = Annotated[Path, typer.Argument(metavar="SPACE.yaml", help="the search space", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="replaces a value, such as training.epochs=4")
]


def check(
    space: Space,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout")] = False,
) -> int:
    """Validates a search space: every mistake at once, and how much of it meets its constraints."""
    from orchestrator.check import check_feasibility
    from orchestrator.document import SearchSpaceError
    from orchestrator.space.reading import read_search_space

    checks: dict[str, Any] = {}
    try:
        specification = read_search_space(space, overrides or ())
        checks, diagnostics = check_feasibility(specification)
        diagnostics.raise_if_any(specification.source)
    except SearchSpaceError as mistakes:
        if as_json:
            _print_json(False, [diagnostic.to_json() for diagnostic in mistakes.diagnostics], checks)
        else:
            print(mistakes, file=sys.stderr)
        return WRONG_INPUT
    if as_json:
        _print_json(True, [], checks)
    else:
        _print_checks(specification, checks)
    return DONE


def _print_json(ok: bool, errors: list[dict[str, Any]], checks: dict[str, Any]) -> None:
    entries = {name: found.to_json() for name, found in checks.items()}
    print(json.dumps({"ok": ok, "errors": errors, "architectures": entries}, indent=1))


def _print_checks(specification: Any, checks: dict[str, Any]) -> None:
    from orchestrator.space.description import describe_setting

    budget = specification.spaces[0].budget
    print(f"{specification.name}: no mistakes")
    if budget:
        print(f"budget: {budget.describe()}")
    for line, entries in specification.require_holds_for.items():
        print(f"require: {line}  (holds for {', '.join(entries)})")
    for name, found in checks.items():
        about = "" if found.exact else "about "
        share = f" ({found.feasible / found.structures:.2%})" if found.structures else ""
        print(f"\n{name}: {about}{found.feasible:,} of {found.structures:,} structures are feasible{share}")
        for example in found.examples:
            values = ", ".join(starmap(describe_setting, example.configuration.items())) or "the one configuration"
            scope = budget.scope if budget else "total"
            print(f"  {values}: {example.params[scope]:,} {scope} parameters")


def plan(space: Space, overrides: Overrides = None) -> int:
    """Says what `run` would do: feasible volume, trials, resources, predicted memory, time and checkpoints."""
    from orchestrator.check import check_feasibility
    from orchestrator.plan import make_plan, render_plan
    from orchestrator.space.reading import read_search_space

    specification = read_search_space(space, overrides or ())
    checks, diagnostics = check_feasibility(specification)
    diagnostics.raise_if_any(specification.source)
    print(render_plan(specification, checks, make_plan(specification)))
    return DONE
