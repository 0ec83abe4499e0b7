"""The line for the head's shell, and the exit status in what comes back."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.shipping.remote_command import Output, RemoteCommand, entrypoint

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(st.lists(TEXT, max_size=5))
def test_every_argument_arrives_whole(arguments: list[str]) -> None:
    assert shlex.split(entrypoint(["report", *arguments])) == ["python", "-m", "orchestrator", "report", *arguments]


def test_commands_that_join_a_cluster_join_that_of_the_head() -> None:
    assert entrypoint(["run", "a b.yaml"]) == "python -m orchestrator run 'a b.yaml' --address auto"


def test_nothing_on_the_head_waits_for_an_answer_that_nobody_gives() -> None:
    assert "< /dev/null" in RemoteCommand(["run"], has_terminal=False).line
    assert "/dev/null" not in RemoteCommand(["run"], has_terminal=True).line


@given(st.text(max_size=60), st.integers(0, 255), st.lists(st.integers(1, 9), min_size=1), st.sampled_from(["\n", "\r\n"]))
def test_however_the_output_is_cut_it_is_shown_and_the_status_is_found(
    text: str, status: int, sizes: list[int], end: str
) -> None:
    command = RemoteCommand([], has_terminal=True)
    whole = f"{text}{end}{command.mark}{status}{end}after{end}"
    output, shown, position = Output(command.mark), "", 0
    while position < len(whole):
        size = sizes[position % len(sizes)]
        shown += output.feed(whole[position : position + size])
        position += size
    assert shown + output.rest() == f"{text}{end}after{end}"
    assert output.status == status


def test_a_question_without_a_line_end_is_shown_at_once() -> None:
    assert Output("memsweep-0 ended with ").feed("working\nrun it? [y/N]: ") == "working\nrun it? [y/N]: "


def test_output_that_only_begins_like_the_last_line_is_shown_in_the_end() -> None:
    output = Output("memsweep-0 ended with ")
    assert output.feed("memsweep-0 en") == ""
    assert output.rest() == "memsweep-0 en" and output.status is None
