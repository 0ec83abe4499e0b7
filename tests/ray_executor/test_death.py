"""What is made of the texts in which Ray tells a death."""

import pytest

from orchestrator.ray_executor.death import LONGEST_REASON, read_death
from trainables.heartbeat import Sender

HEAD = "Failure # 1 (occurred at 2026-01-01_00-00-00)\nThe actor died unexpectedly before finishing this task.\n\tpid: 17\n"
EXIT = HEAD + "The actor is dead because its worker process has died. Worker exit type: {} Worker exit detail: {}\n"
GUESSES = " Some common causes include: (1) the process was killed by the OOM killer due to high memory usage, (2) SIGSEGV."
NODE = "ae0df55b0d5751c28f45dd50560c8fe6f4cd16957be9209ab6224133"
MEMORY = f"""Caught unexpected exception: 1 worker(s) were killed due to the node running low on memory. The node (ID: {NODE})
OOM kill reason: Memory usage 4057255936B exceeded threshold of 4044241664B
Considered workers: [
Selected to kill: (Actor(cb52): job ID=01000000, required resources={{CPU: 1}}, pid=10142, actual memory used=2.78GB)
Not selected: (Actor(cb53): job ID=01000000, required resources={{CPU: 1}}, pid=10143, actual memory used=0.1GB)
]
10143	0.22	ray::SweepTrainable
"""


def test_a_process_that_is_gone_without_a_word_is_no_memory_kill_whatever_ray_guesses() -> None:
    detail = "Worker unexpectedly exits with a connection error code 2. End of file." + GUESSES
    death = read_death(EXIT.format("SYSTEM_ERROR", detail))
    assert death.cause == "died" and "killed by a signal" in death.reason
    assert "OOM" not in death.reason and death.reason.endswith("(SYSTEM_ERROR)")


def test_an_exit_code_is_told() -> None:
    death = read_death(EXIT.format("SYSTEM_ERROR", "Worker exits unexpectedly. Worker exits with an exit code 3."))
    assert death.reason == "Worker exits unexpectedly. Worker exits with an exit code 3. (SYSTEM_ERROR)"


def test_a_process_that_left_to_be_replaced_did_not_die() -> None:
    detail = "Worker exits by an user request. Worker exits with an exit code 0. exit_actor() is called."
    assert read_death(EXIT.format("INTENDED_USER_EXIT", detail)).cause == "replaced"


def test_the_memory_monitor_s_victim_is_known_by_its_process_and_its_node() -> None:
    death = read_death(MEMORY)
    assert death.cause == "oom" and death.reason.startswith("1 worker(s) were killed due to the node running low on memory")
    assert death.concerns(Sender(NODE, 10142, "1"))
    assert not death.concerns(Sender(NODE, 10143, "1")), "it was considered, not killed"
    assert not death.concerns(Sender("b" * 56, 10142, "1")), "the same process id on another machine"
    assert not death.concerns(Sender(NODE, 1014, "1"))


def test_a_text_of_no_known_form_gives_the_first_line_of_the_last_failure() -> None:
    text = "Failure # 1 (occurred at a)\nfirst thing\n\nFailure # 2 (occurred at b)\nsecond thing\nmore\n"
    assert read_death(text).reason == "second thing"
    assert read_death(None).reason == "for no reason that is known" and read_death("").cause == "died"
    assert len(read_death("x" * 10_000).reason) == LONGEST_REASON


LOST = HEAD + "\tip: 10.0.0.2\nThe actor died because its node has died. Node Id: " + NODE + "\n\tthe actor's node was {}\n"


@pytest.mark.parametrize(
    "why",
    [
        "terminated unexpectedly: health check failed due to missing too many heartbeats",
        "terminated expectedly: received SIGTERM",
        "preempted: the instance is taken back",
    ],
)
def test_a_process_that_was_lost_with_its_machine_is_told_with_what_became_of_that(why: str) -> None:
    death = read_death(LOST.format(why))
    assert death.cause == "lost" and death.reason == f"the actor's node was {why}"


def test_other_words_for_a_lost_machine_are_known_too() -> None:
    gone = "Task failed because the node it was running on is dead or unavailable. Node IP: 10.0.0.2, node ID: ab."
    assert read_death(HEAD + gone).cause == "lost" and read_death(HEAD + gone).reason.startswith("Task failed because the node")
    assert read_death("The actor died by preemption.").cause == "lost"
    assert read_death("The actor died because its node has died.").reason == "The actor died because its node has died."


def test_a_process_that_cannot_be_reached_may_have_died_alone() -> None:
    text = "ActorUnavailableError: The actor 1c24 is unavailable: The actor is temporarily unavailable: RpcError: Socket closed"
    assert read_death(text).cause == "died"
