"""RUN names a run of a record, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process_sweep import FIRST, SECOND, change_record, command, files_of, tracking_id

from orchestrator.record import JournalError
from orchestrator.reproduce.recorded import NothingRecorded
from orchestrator.reproduce.reference import RunNotFound, find_run
from orchestrator.sweep.folder import SweepFolder


def test_a_run_is_named_in_every_way(recorded: SweepFolder) -> None:
    storage = recorded.path.parent
    references = {
        f"small/{SECOND}": SECOND,
        f"{recorded.path}/{SECOND}": SECOND,
        f"{recorded.trials}/{SECOND}": SECOND,
        f"{recorded.trials}/{SECOND}/": SECOND,
        f"small/trials/{SECOND}": SECOND,
        "small/gpt-0000": FIRST,
        tracking_id(SECOND): SECOND,
    }
    assert {reference: find_run(reference, storage).run for reference in references} == references


def test_an_unknown_run_is_told_with_those_most_like_it(recorded: SweepFolder) -> None:
    with pytest.raises(RunNotFound, match=f"`small` has no run `gpt-0000-s7`; there are: .*{FIRST}"):
        find_run("small/gpt-0000-s7", recorded.path.parent)
    with pytest.raises(FileNotFoundError, match="no sweep `smal`; there are: small"):
        find_run(f"smal/{FIRST}", recorded.path.parent)
    with pytest.raises(RunNotFound, match="write SWEEP/RUN"):
        find_run("0" * 32, recorded.path.parent)


def test_an_unknown_run_is_wrong_input_without_a_traceback(
    recorded: SweepFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from orchestrator.command_line.errors import user_errors

    with pytest.raises(FileNotFoundError, match="has no run") as raised:
        command("small/nothing", "--storage", str(recorded.path.parent))
    assert isinstance(raised.value, user_errors())


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", "", "trials/..", "../small/record.jsonl", "\x00", "%2e%2e", "/etc/passwd", "~"]
)
def test_hostile_names_find_nothing(recorded: SweepFolder, name: str) -> None:
    with pytest.raises((RunNotFound, FileNotFoundError)):
        find_run(f"small/{name}", recorded.path.parent)


@given(name=st.text(max_size=40))
def test_no_text_finds_more_than_the_record_has(recorded: SweepFolder, name: str) -> None:
    try:
        found = find_run(f"{recorded.path}/{name}", recorded.path.parent)
    except (RunNotFound, FileNotFoundError):
        return
    assert found.run in (FIRST, SECOND)


def test_names_in_a_record_never_become_paths(sweep: SweepFolder) -> None:
    hostile = "../../escaped"

    def change(event: dict[str, Any]) -> dict[str, Any]:
        if event["kind"] == "suggestion":
            event["runs"] = {hostile: 0}
        if event.get("run") == FIRST:
            event["run"] = hostile
        return event if event.get("run") != SECOND else {"kind": "end", "interrupted": False}

    change_record(sweep, change)
    before = files_of(SweepFolder(sweep.path.parent))
    with pytest.raises(JournalError, match="cannot have runs"):
        command(f"{sweep.path}/gpt-0000")
    assert files_of(SweepFolder(sweep.path.parent)) == before


def test_text_of_a_record_does_not_steer_the_terminal(sweep: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    def change(event: dict[str, Any]) -> dict[str, Any]:
        if event["kind"] == "result" and event["progress"] == 1:
            event["metrics"]["val/\x1b[2J"] = 1.0
        if event["kind"] == "begin":
            event["provenance"]["python"] = "3\x1b]0;title\x07"
        return event

    change_record(sweep, change)
    assert command(f"{sweep.path}/{FIRST}") == 1
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err and "val/" in captured.out


def test_a_run_without_results_has_nothing_to_compare(sweep: SweepFolder) -> None:
    change_record(sweep, lambda event: event if event["kind"] in ("sweep", "suggestion", "start") else None)
    with pytest.raises(NothingRecorded, match="nothing that could be compared"):
        find_run(f"{sweep.path}/{FIRST}", sweep.path)


def test_a_damaged_record_is_refused_with_its_place(sweep: SweepFolder) -> None:
    text = sweep.record.read_text()
    sweep.record.write_text(text.replace('"mqar"', '"mqax"', 1).replace('"gpt"', '"gpu"', 1))
    with pytest.raises(JournalError, match="line"):
        find_run(f"{sweep.path}/{FIRST}", sweep.path)
