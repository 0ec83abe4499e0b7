"""Every memsweep command that the documents about clusters send somewhere exists, with its options."""

from __future__ import annotations

import re
import shlex

import click
import pytest
import typer
from cluster_files import DOCUMENTS, KUBERNETES, ROOT, code_of, commands

from orchestrator.command_line.app import build_app

LINES = [line for document in DOCUMENTS for code in code_of(document) for line in commands(code.text)]
BEGINNING = re.compile(r"^memsweep |\bpython -m orchestrator |orchestrator/submit\.py -- | -- (?=run |resume )")


def _sent(line: str) -> list[list[str]]:
    """The words of each memsweep command in a line: of `memsweep submit … -- run …` both."""
    return [shlex.split(part.partition(" -- ")[0]) for part in re.split(BEGINNING, line)[1:]]


SENT = [words for line in LINES for words in _sent(line)]


@pytest.fixture(scope="module")
def known() -> dict[str, click.Command]:
    group = typer.main.get_command(build_app())
    return group.commands  # type: ignore[attr-defined, no-any-return]


def mistakes(words: list[str], known: dict[str, click.Command]) -> list[str]:
    name, *rest = words
    if name not in known:
        return [f"there is no `memsweep {name}`"]
    options = {option for parameter in known[name].params for option in parameter.opts}
    return [word for word in rest if word.startswith("--") and word.partition("=")[0] not in options]


def test_every_command_exists_with_its_options(known: dict[str, click.Command]) -> None:
    assert {words[0] for words in SENT} >= {"run", "resume", "submit", "check"}
    assert {" ".join(words): wrong for words in SENT if (wrong := mistakes(words, known))} == {}


def test_a_command_that_does_not_exist_is_found(known: dict[str, click.Command]) -> None:
    assert mistakes(["runs", "x.yaml"], known) and mistakes(["run", "x.yaml", "--adress", "auto"], known)
    both = [["submit", "--cluster", "a.yaml"], ["run", "x.yaml", "--yes"]]
    assert _sent("memsweep submit --cluster a.yaml -- run x.yaml --yes") == both


def test_every_search_space_that_is_sent_is_shipped() -> None:
    named = set(re.findall(r"search_spaces/\w+\.yaml", "\n".join([*LINES, KUBERNETES.read_text()])))
    assert len(named) >= 2 and all((ROOT / name).exists() for name in named)
