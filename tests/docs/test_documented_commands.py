"""Every command in the documents exists with its options; what is cheap is run, and prints what the document shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from documents import DOCUMENTS, ROOT, WITH_MISTAKES, Shown, prose, shown_commands, table_rows

from orchestrator.command_line.app import build_app, run

CHEAP = ("check", "plan", "list", "count", "schema")
MACHINE_DEPENDENT = re.compile(r"roughly \d+ (s|min|h)|each run: .*")


def _command_lines() -> Iterator[tuple[str, str]]:
    """(place, command line) of everything in the documents that looks like one."""
    for shown in shown_commands():
        yield shown.place, shown.command
    for document in DOCUMENTS:
        for text in re.findall(r"`((?:memsweep|make) [^`\n]+)`", prose(document)):
            yield f"{document.relative_to(ROOT)} {text}", text


def _words(line: str) -> list[str]:
    return shlex.split(re.sub(r"[\[\]…]| > .*", "", line))


COMMAND_LINES = sorted(set(_command_lines()))
MEMSWEEP = [(place, line) for place, line in COMMAND_LINES if line.startswith("memsweep ")]
MAKE = [(place, line) for place, line in COMMAND_LINES if line.startswith("make ")]
RUN_HERE = [
    shown for shown in shown_commands() if _words(shown.command)[:1] == ["memsweep"] and _words(shown.command)[1] in CHEAP
]


@pytest.fixture(scope="module")
def commands() -> dict[str, click.Command]:
    group = typer.main.get_command(build_app())
    return group.commands  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(("place", "line"), MEMSWEEP, ids=[place for place, _ in MEMSWEEP])
def test_every_documented_memsweep_command_exists(place: str, line: str, commands: dict[str, click.Command]) -> None:
    name, *words = _words(line)[1:]
    if name == "--help":
        return
    assert name in commands, f"{place}: there is no `memsweep {name}`"
    known = {option for parameter in commands[name].params for option in parameter.opts} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize(("place", "line"), MAKE, ids=[place for place, _ in MAKE])
def test_every_documented_make_target_exists(place: str, line: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert _words(line)[1] in targets, place


def test_there_is_something_to_run() -> None:
    assert {_words(shown.command)[1] for shown in RUN_HERE} == set(CHEAP)
    assert sum(bool(shown.output) for shown in RUN_HERE) >= 5


@pytest.mark.parametrize("shown", RUN_HERE, ids=lambda shown: shown.place)
def test_cheap_commands_print_what_is_shown(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    if shown.space is not None:
        (tmp_path / "space.yaml").write_text(shown.space.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    status = run(_words(shown.command)[1:])
    is_wrong = "space.yaml" in _words(shown.command) and shown.space is not None and WITH_MISTAKES in shown.space.marks
    assert status == (2 if is_wrong else 0)
    captured = capsys.readouterr()
    if shown.output:
        assert _comparable(captured.err + captured.out) == _comparable(shown.output)


def _comparable(output: str) -> list[str]:
    lines = [line.rstrip() for line in MACHINE_DEPENDENT.sub("…", output).splitlines()]
    return [line for line in lines if line]


def _counts() -> Iterator[tuple[str, dict[str, int]]]:
    """Every command of a table of counts, with what the table says of the scopes that its header names."""
    for document in DOCUMENTS:
        scopes: list[str] = []
        for command, *cells in table_rows(document):
            if command == "configuration":
                scopes = cells
            elif command.startswith("`memsweep count "):
                yield command.strip("`"), {scope: int(cell.replace(",", "")) for scope, cell in zip(scopes, cells, strict=True)}


COUNTS = list(_counts())


@pytest.mark.parametrize(("command", "counts"), COUNTS, ids=[command for command, _ in COUNTS])
def test_counts_in_tables_are_right(command: str, counts: dict[str, int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*shlex.split(command)[1:], "--json"]) == 0
    params = json.loads(capsys.readouterr().out)["params"]
    assert counts and {scope: params[scope] for scope in counts} == counts


def test_counts_are_shown() -> None:
    assert len(COUNTS) >= 6
