"""The entry for ``ray submit``: which arguments it accepts, and what it becomes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from folders import fill
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.command_line.app import build_app
from orchestrator.submit import FLAGS, JOINING, ONE_WORD, TakenApart, refuse_what_needs_quotes, with_address, words

ENTRY = Path(__file__).parents[2] / "orchestrator" / "submit.py"
FAKE_MEMSWEEP = "import json, os, sys; print(json.dumps([os.getcwd(), os.environ['RAY_AUTH_MODE'], sys.argv[1:]])); sys.exit(7)"


@given(st.lists(st.text(min_size=0, max_size=8), max_size=5))
def test_what_is_accepted_arrives_unchanged_through_a_shell_without_quotes(typed: list[str]) -> None:
    try:
        refuse_what_needs_quotes(typed)
    except TakenApart:
        assert any(shlex.quote(word) != word for word in typed)
        return
    assert shlex.split(" ".join(typed), comments=True) == typed


@pytest.mark.parametrize(
    "word", ["x y", "a;b", "$HOME", "x=[1,2]", "*", "a#b c", "{int:", "", "'a'", "é", "a&", "x>y", "`id`", "~"]
)
def test_a_word_that_a_shell_changes_is_refused_with_the_cure(word: str) -> None:
    with pytest.raises(TakenApart, match=r"needs quotes.*memsweep submit --cluster.*ray job submit"):
        refuse_what_needs_quotes(["run", "space.yaml", "--set", word])


def test_a_quoted_argument_that_was_taken_apart_is_noticed_by_its_second_half() -> None:
    with pytest.raises(TakenApart, match="'y' seems to be a part of a quoted one"):
        refuse_what_needs_quotes(["run", "space.yaml", "--name", "x", "y", "--yes"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "search_spaces/x.yaml", "--yes", "--set", "training.epochs=4", "--storage=s3://bucket/a", "--trials", "3"],
        ["resume", "name", "--address", "10.0.0.1:6379"],
        ["report", "one", "two", "--json"],
        ["list", "--json"],
        [],
    ],
)
def test_ordinary_commands_are_accepted(arguments: list[str]) -> None:
    refuse_what_needs_quotes(arguments)


def test_options_and_their_values_are_no_words() -> None:
    assert words(["run", "--name", "n", "--yes", "a.yaml", "--trials=3", "b"]) == ["run", "a.yaml", "b"]


def test_the_address_is_added_where_the_command_takes_one_and_none_is_given() -> None:
    assert with_address(["run", "x.yaml"]) == ["run", "x.yaml", "--address", "auto"]
    assert with_address(["resume", "x", "--address=h:1"]) == ["resume", "x", "--address=h:1"]
    assert with_address(["run", "x.yaml", "--address", "h:1"]) == ["run", "x.yaml", "--address", "h:1"]
    assert with_address(["report", "x"]) == ["report", "x"]
    assert with_address([]) == []


def test_what_it_knows_of_the_commands_agrees_with_them() -> None:
    group: Any = typer.main.get_command(build_app())
    parameters = {name: command.params for name, command in group.commands.items() if name != "submit"}
    options = [(name, option) for name, listed in parameters.items() for option in listed if option.param_type_name == "option"]
    assert {name for name, option in options if "--address" in option.opts} == set(JOINING)
    assert {flag for _, option in options if option.is_flag for flag in option.opts} | {"--help"} == set(FLAGS)
    arguments = {
        name: [item.nargs for item in listed if item.param_type_name == "argument"] for name, listed in parameters.items()
    }
    assert set(ONE_WORD) <= {name for name, counts in arguments.items() if counts == [1]}


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    return fill(tmp_path, {"memsweep/orchestrator/__main__.py": FAKE_MEMSWEEP, "submit.py": ENTRY.read_text()})


def start(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As ``ray submit`` starts it: from the home, and without our packages."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-I", str(home / "submit.py"), *arguments]
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True)


def test_it_runs_memsweep_in_the_shipped_folder_and_passes_the_exit_status_on(shipped: Path) -> None:
    done = start(shipped, "run", "search_spaces/x.yaml")
    assert done.returncode == 7
    assert json.loads(done.stdout) == [
        str(shipped / "memsweep"),
        "token",
        ["run", "search_spaces/x.yaml", "--address", "auto"],
    ]


def test_it_ends_with_2_when_it_refuses_and_when_nothing_was_shipped(shipped: Path) -> None:
    refused = start(shipped, "run", "x y")
    assert refused.returncode == 2 and "needs quotes" in refused.stderr and not refused.stdout
    (shipped / "memsweep").rename(shipped / "elsewhere")
    lost = start(shipped, "run", "x.yaml")
    assert lost.returncode == 2 and "No such file or directory; `ray up CLUSTER.yaml` puts the code there" in lost.stderr
