"""Names become folders, MLflow names and words of a command line: what could be more than a name is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.command_line.app import run
from orchestrator.document import Diagnostic, SearchSpaceError
from orchestrator.space.reading import read_search_space
from orchestrator.space.reading.sweep import _cell_name
from orchestrator.sweep.naming import run_id, trial_id

HOSTILE = [
    *("", ".", "..", "...", "../x", "../../etc/passwd", "a/../../b", "a/b", "/etc/passwd", "/", "~", "~root", "./a", "a/", ".x"),
    *(
        "%2e%2e%2fx",
        "%2e%2e/",
        "..%2f",
        "..%252f",
        "%00",
        "a%2fb",
        "a#b",
        "#",
        "?a",
        "a?b=c",
        "a;version=1",
        "file:///etc/passwd",
    ),
    *("C:\\x", "C:x", "..\\..\\x", "\\\\server\\share", "\\\\?\\C:\\x", "a\\b", "a:b", "a:$DATA", "s3://bucket/x", "models:/m/1"),
    *(
        "a\0",
        "a\0.yaml",
        "\0",
        "a\nb",
        "a\n",
        "\r\n",
        "a\tb",
        " a",
        "a ",
        "\x1b[2J",
        "a\x7f",
        "\x85",
        "a\u2028b",
        "a b",
        "=a",
        "@a",
    ),
    *("-x", "--help", "-rf", "$(x)", "$HOME", "`x`", "a;b", "a&&b", "a|b", "a>b", "a'b", 'a"b', "a*", "{a,b}", "!a"),
    *("a\u2024\u2024b", "\u2024\u2024\u2215x", "\uff0e\uff0e\uff0fx", "a\u2215b", "a\u2044b", "a\u29f8b", "a\uff3cb", "\u0430bc"),
    *(
        "\u202egnp.yaml",
        "a\u200bb",
        "a\u200fb",
        "\u2066a\u2069",
        "a\ufeffb",
        "a\u00a0b",
        "\u212a",
        "\U0001d5ba",
        "\u0661",
        "gpt\u0301",
    ),
    *("x" * 65, "x" * 255, "x" * 1000, "../" * 100, "' OR 1=1 --", "a'; DROP TABLE runs; --", "%s%s%n", "{0.__class__}", "${dk}"),
]
"""Nothing of this is a name. ``con`` or ``a..b`` are odd names, and stay in their folder."""

PLACES = {
    "name": ("name: {}\ntask: {{name: mqar}}\narchitectures: {{gpt: {{}}}}\n", (1, 7)),
    "entry": ("task: {{name: mqar}}\narchitectures:\n  {}: {{architecture: gpt}}\n", (3, 3)),
    "experiment": ("task: {{name: mqar}}\narchitectures: {{gpt: {{}}}}\ntracking: {{experiment: {}}}\n", (3, 24)),
    "architecture": ("task: {{name: mqar}}\narchitectures: {{a: {{architecture: {}}}}}\n", (2, 35)),
    "task": ("task: {{name: {}}}\narchitectures: {{gpt: {{}}}}\n", (1, 14)),
}
RULE = "letters, digits, `.`, `_` and `-`, at most 64, beginning with a letter or digit"


def quoted(text: str) -> str:
    """In double quotes, with YAML's escapes, so that every character comes through."""
    return '"' + "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder; afterwards nothing has appeared around it."""
    inside = tmp_path / "some" / "where"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    before = set(tmp_path.rglob("*"))
    yield inside
    assert {path for path in tmp_path.rglob("*") if path.name != "space.yaml"} == before


def mistakes(path: Path) -> list[Diagnostic]:
    with pytest.raises(SearchSpaceError) as refused:
        read_search_space(path)
    return refused.value.diagnostics


@pytest.mark.parametrize("place", PLACES)
def test_a_hostile_name_is_refused_at_its_place(guarded: Path, place: str) -> None:
    template, (line, column) = PLACES[place]
    for name in HOSTILE:
        path = guarded / "space.yaml"
        path.write_text(template.format(quoted(name)))
        (found,) = mistakes(path)
        assert (found.line, found.column) == (line, column), name
        if place in ("name", "entry", "experiment"):
            assert found.hint == RULE, name


@pytest.mark.parametrize("name", ["a", "A-1", "con", "nul", "a..b", "a.", "x" * 64, "0", "mqar.v2_final-3"])
def test_an_ordinary_or_only_odd_name_is_taken(guarded: Path, name: str) -> None:
    path = guarded / "space.yaml"
    for place in ("name", "entry", "experiment"):
        path.write_text(PLACES[place][0].format(quoted(name)))
        specification = read_search_space(path)
        assert name in (specification.name, specification.entries[0].name, specification.tracking.experiment)


def test_a_hostile_name_on_the_command_line_is_refused_before_anything_is_written(
    guarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = guarded / "space.yaml"
    path.write_text(PLACES["name"][0].format("fine"))
    for name in HOSTILE:
        assert run(["run", str(path), f"--name={name}", "--yes"]) == 2, name
        assert "name" in capsys.readouterr().err
        assert run(["run", str(path), "--set", f"name={quoted(name)}", "--yes"]) == 2, name
        assert RULE in capsys.readouterr().err


@pytest.mark.parametrize(
    "file_name", ["...yaml", "-rf.yaml", "%2e%2e.yaml", "a b;c.yaml", "é\u2024.yaml", "'$(x)'.yaml", "#.yaml"]
)
def test_a_sweep_named_after_its_file_has_a_harmless_name(tmp_path: Path, file_name: str) -> None:
    path = tmp_path / file_name
    path.write_text("task: {name: mqar}\narchitectures: {gpt: {}}\n")
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", read_search_space(path).name)


@pytest.mark.parametrize("value", [*HOSTILE, ["../x"], {"a/b": "\0"}, None, -1e-9], ids=repr)
def test_what_a_grid_adds_to_a_name_cannot_leave_the_folder(value: object) -> None:
    cell = _cell_name("gpt", {"task.name/../x": value})
    identity = run_id(trial_id(cell, 9999), 2**31)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", identity)
    assert Path("trials", identity).resolve().parent == Path("trials").resolve()


def test_a_diagnostic_shows_a_hostile_name_without_what_steers_a_terminal(
    guarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = guarded / "space.yaml"
    for place, (template, _) in PLACES.items():
        for name in HOSTILE:
            path.write_text(template.format(quoted(name)))
            assert run(["check", str(path)]) == 2, place
            told = capsys.readouterr()
            assert all(c.isprintable() or c == "\n" for c in told.out + told.err), name
    path.write_text(PLACES["entry"][0].format(quoted("\u202e../x")))
    assert run(["check", "--json", str(path)]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False
