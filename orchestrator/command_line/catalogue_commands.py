"""``list``, ``count`` and ``schema``: what can be swept."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from orchestrator.command_line.errors import DONE, WRONG_INPUT

AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


def register(app: typer.Typer) -> None:
    app.command("list")(list_catalogue)
    app.command("count")(count)
    app.command("schema")(schema)


def list_catalogue(as_json: AsJson = False) -> int:
    """Shows architectures, tasks and sections with each hyperparameter: type, default, range, meaning."""
    from orchestrator import catalogue
    from orchestrator.catalogue.tables import catalogue_tables, print_tables

    found = catalogue.list_catalogue()
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print_tables(catalogue_tables(found))
    return DONE


def count(
    architecture: Annotated[str, typer.Argument(metavar="ARCHITECTURE", help="such as gpt", show_default=False)],
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="fields such as dim=64 task.vocab_size=512; task=NAME", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Counts the parameters of one configuration by scope and by module; what is not given has its default."""
    from orchestrator.catalogue import CountError, count_configuration
    from orchestrator.catalogue.tables import count_tables, print_tables

    try:
        report = count_configuration(architecture, values or ())
    except CountError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        raise typer.Exit(WRONG_INPUT) from error
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        print_tables(count_tables(report))
    return DONE


def schema() -> int:
    """Prints the JSON Schema of a search space, for editors (`search_spaces/schema.json`)."""
    from orchestrator.catalogue import schema_text

    print(schema_text(), end="")
    return DONE
