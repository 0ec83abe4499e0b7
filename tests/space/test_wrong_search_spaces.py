"""Every file of ``tests/search_spaces_wrong`` is refused with the diagnostics that its first lines state, and with no others."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.check.feasibility import check_feasibility
from orchestrator.document import Diagnostic, SearchSpaceError
from orchestrator.space.reading import read_search_space

FOLDER = Path(__file__).parent.parent / "search_spaces_wrong"
FILES = sorted(FOLDER.glob("*.yaml"))
GOOD = Path(__file__).parent / "examples" / "mqar_parameter_matched.yaml"
EXPECTED = re.compile(r"# expect: (\d+):(\d+) (.+)")


def diagnostics_of(path: Path) -> list[Diagnostic]:
    """What ``memsweep check`` reports: mistakes of the text, or, where it has none, entries of which nothing is feasible."""
    try:
        specification = read_search_space(path)
    except SearchSpaceError as error:
        return error.diagnostics
    return check_feasibility(specification)[1].found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_wrong_search_space_is_refused_at_the_place_of_its_mistakes(path: Path) -> None:
    expected = [EXPECTED.fullmatch(line) for line in path.read_text().splitlines() if line.startswith("# expect")]
    started = time.process_time()
    found = diagnostics_of(path)
    assert time.process_time() - started < 5, "seconds of this process: what takes longer grows without a limit"
    assert expected and all(expected)
    assert [f"{d.line}:{d.column}" for d in found] == [f"{match[1]}:{match[2]}" for match in expected if match]
    for diagnostic, match in zip(found, expected, strict=True):
        assert match and (match[3] in diagnostic.message or match[3] in diagnostic.hint)


def test_a_name_that_is_reserved_is_refused_as_not_available_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.space.reading.entry.RESERVED_ARCHITECTURES", ("promised",))
    monkeypatch.setattr("orchestrator.space.reading.sweep.RESERVED_TASKS", ("later",))
    path = tmp_path / "space.yaml"
    path.write_text("task: {name: later}\narchitectures: {promised: {}}\n")
    assert [d.message for d in diagnostics_of(path)] == [
        "the task `later` is not available yet",
        "the architecture `promised` is not available yet",
    ]


def test_a_mistake_is_not_reported_again_where_it_is_referred_to(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        'task: {name: mqar}\narchitectures: {gpt: {dk: {int: [9, 3]}, dv: "${dk}"}}\nconstraints: {require: ["dk <= dim"]}\n'
    )
    assert [d.message for d in diagnostics_of(path)] == ["the range is upside down: 9 > 3"]


TOKENS = re.findall(r"[A-Za-z_0-9.]+|\s+|.", GOOD.read_text())
SPLICES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "- ",
    "null",
    "true",
    "${",
    '"',
    "&a ",
    "*a",
    "!!map ",
    "-1",
    ".nan",
    "1e400",
    "{choice: []}",
    "\t",
    "[[]]",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(
            st.sampled_from(["drop", "replace", "swap"]),
            st.integers(0, len(TOKENS) - 1),
            st.sampled_from([*SPLICES, *set(TOKENS)]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_done_to_a_search_space_it_is_read_or_refused(tmp_path: Path, edits: list[tuple[str, int, str]]) -> None:
    tokens = list(TOKENS)
    for kind, position, token in edits:
        if kind == "drop":
            tokens[position] = ""
        elif kind == "replace":
            tokens[position] = token
        else:
            other = (position + len(token)) % len(tokens)
            tokens[position], tokens[other] = tokens[other], tokens[position]
    path = tmp_path / "space.yaml"
    path.write_text("".join(tokens))
    started = time.process_time()
    try:
        read_search_space(path)
    except SearchSpaceError as error:
        assert all(d.line >= 1 and d.column >= 1 and d.message for d in error.diagnostics) and error.diagnostics
    assert time.process_time() - started < 5, "seconds of this process: what takes longer grows without a limit"
