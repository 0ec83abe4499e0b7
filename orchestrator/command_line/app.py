"""Assembles the commands; errors that a person can mend become a message on stderr and status 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from orchestrator.command_line import catalogue_commands, reproduce_command, space_commands, submit_command, sweep_commands
from orchestrator.command_line.errors import DONE, WRONG_INPUT, user_errors
from orchestrator.document import SearchSpaceError
from orchestrator.ray_executor.versions import refuse_old_libraries


def build_app() -> typer.Typer:
    """The command-line application."""
    app = typer.Typer(
        name="memsweep",
        help="Hyperparameter sweeps of memory architectures at equal parameter counts, on Ray, with measured memory.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        result_callback=_exit_with,
        pretty_exceptions_enable=False,
    )
    space_commands.register(app)
    sweep_commands.register(app)
    reproduce_command.register(app)
    catalogue_commands.register(app)
    submit_command.register(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Runs a command and returns its exit status: 0 done, 1 no success, 2 wrong input, 130 interrupted."""
    try:
        refuse_old_libraries()
        build_app()(list(arguments))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else DONE
    except user_errors() as error:
        told = str(error) if isinstance(error, SearchSpaceError) else f"error: {error}"
        print(told, file=sys.stderr)
        return WRONG_INPUT
    return DONE


def _exit_with(status: int | None) -> None:
    """Makes what a command returns the exit status."""
    raise typer.Exit(status or DONE)
