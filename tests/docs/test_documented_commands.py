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


COUNTS = [row for document in DOCUMENTS for row in table_rows(document) if row[0].startswith("`memsweep count ")]


@pytest.mark.parametrize("row", COUNTS, ids=lambda row: row[0])
def test_counts_in_tables_are_right(row: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*_words(row[0].strip("`"))[1:], "--json"]) == 0
    params = json.loads(capsys.readouterr().out)["params"]
    assert [int(cell.replace(",", "")) for cell in row[1:3]] == [params["block"], params["total"]]


def test_counts_are_shown() -> None:
    assert len(COUNTS) >= 6
