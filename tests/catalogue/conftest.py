"""The catalogue commands on an application of their own, run in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from orchestrator.command_line import catalogue_commands

Memsweep = Callable[..., Result]


@pytest.fixture
def memsweep(monkeypatch: pytest.MonkeyPatch) -> Memsweep:
    """``memsweep("count", "gpt", "dk=8")``, with stdout and stderr apart."""
    monkeypatch.setenv("COLUMNS", "80")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    catalogue_commands.register(app)
    return lambda *arguments: CliRunner().invoke(app, list(arguments), catch_exceptions=False)
