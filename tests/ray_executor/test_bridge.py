"""What becomes of runs whose processes die, with a controller that only takes notes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.packing import FixedReserver, Reservation
from orchestrator.ray_executor.bridge import Bridge
from orchestrator.ray_executor.cluster import ClusterResources
from orchestrator.ray_executor.interruption import Interruption
from orchestrator.ray_executor.lives import MACHINES_LOST_WITHOUT_PROGRESS, PROCESSES_LOST_BEFORE_A_BEGIN, RESTARTS_AFTER_DEATH
from orchestrator.ray_executor.nodes import Nodes, NodeSurvey
from orchestrator.ray_executor.silence import Attendance
from orchestrator.ray_executor.width import Width
from trainables.heartbeat import Sender
from trainables.ray_trainable import CONFIGURATION, PAYLOAD
from trainables.training.request import RunRequest

DIED = "The actor died.\nWorker exit type: SYSTEM_ERROR Worker exit detail: Worker exits with an exit code 3."
REPLACED = "Worker exit type: INTENDED_USER_EXIT Worker exit detail: exit_actor() is called."
NODE = "a1" * 28
LOST = "The actor died because its node has died. Node Id: 6bf8\n\tthe actor's node was terminated unexpectedly: no health"
UNAVAILABLE = "The actor 1c24 is unavailable: The actor is temporarily unavailable: RpcError: Socket closed"
MEMORY = f"worker(s) were killed due to the node running low on memory (ID: {NODE})\nSelected to kill: (Actor(c): x, pid=17)"


class Notes:
    """In place of a controller: hands out runs ``r0``, ``r1`` … and notes what it is told."""

    def __init__(self, runs: int) -> None:
        self.waiting = [f"r{i}" for i in range(runs)]
        self.lost: list[tuple[str, str, str]] = []
        self.outcomes: dict[str, str] = {}
        self.attempts: Counter[str] = Counter()
        self.state = SimpleNamespace(runs=defaultdict(lambda: SimpleNamespace(metrics={})))
        self.may_retry = lambda needed_mib: False

    def _request(self, run: str) -> RunRequest:
        self.attempts[run] += 1
        return RunRequest(run=run, attempt=self.attempts[run], architecture="gpt", task="mqar", artifacts=Path())

    def hand_out_again(self, run: str) -> RunRequest:
        return self._request(run)

    def needed_mib(self, run: str) -> None: ...

    def has_ended(self, run: str) -> bool:
        return run in self.outcomes

    def next_run(self) -> RunRequest | None:
        return self._request(self.waiting.pop(0)) if self.waiting else None

    def on_result(self, run: str, payload: dict[str, Any]) -> bool:
        if payload["progress"] < 0:
            raise OSError("no space left on device")
        if payload["outcome"] is not None:
            self.outcomes[run] = payload["outcome"]
        return payload["outcome"] is None

    def on_lost(self, run: str, reason: str, outcome: str = "failed") -> None:
        self.outcomes[run] = outcome
        self.lost.append((run, outcome, reason))


class Nobody:
    """In place of the watch: nobody was silent."""

    watching = type("Watching", (), {"to_dict": staticmethod(dict)})

    def __init__(self) -> None:
        self.silent: dict[str, float] = {}
        self.nodes = Nodes("driver's")
        self.where: dict[str, str] = {}

    def node_of(self, run: str) -> str:
        return self.where.get(run, "driver's")

    def take_kill(self, run: str) -> float | None:
        return self.silent.pop(run, None)

    def forget(self, run: str) -> None: ...

    def senders(self) -> dict[str, Sender]:
        return {"r0#1": Sender(NODE, 17, "1"), "r1#1": Sender(NODE, 18, "1")}


def bridge_of(runs: int) -> tuple[Bridge, Notes, Nobody]:
    notes, watch = Notes(runs), Nobody()
    width = Width(1000, lambda: ClusterResources(1, 0))
    bridge = Bridge(notes, FixedReserver(1.0, 0.0), width, Interruption(), Attendance(), watch)  # type: ignore[arg-type]
    return bridge, notes, watch


def handed(bridge: Bridge, trial: str) -> Any:
    suggested = bridge.suggest(trial)
    bridge.begin(trial)
    return json.loads(suggested[CONFIGURATION])["request"]["run"] if isinstance(suggested, dict) else suggested


def result(bridge: Bridge, run: str, progress: int = 1, outcome: str | None = None, trial: str | None = None) -> bool:
    payload = {"run": run, "progress": progress, "outcome": outcome, "metrics": {}, "once": {}}
    return bridge.result(trial or run.replace("r", "t"), {PAYLOAD: json.dumps(payload)})


def leave(bridge: Bridge, trial: str, run: str, progress: int = 1) -> bool:
    payload = {"run": run, "progress": progress, "outcome": None, "metrics": {}, "once": {}, "leaving": True}
    return bridge.result(trial, {PAYLOAD: json.dumps(payload)})


def die(bridge: Bridge, trial: str, text: str) -> None:
    bridge.note_error(trial, text)
    bridge.ended(trial, error=True)


def test_a_death_hands_the_run_out_again_three_times() -> None:
    bridge, notes, _ = bridge_of(1)
    for life in range(RESTARTS_AFTER_DEATH + 1):
        assert handed(bridge, f"t{life}") == "r0" and not notes.lost
        die(bridge, f"t{life}", DIED)
    ((run, outcome, reason),) = notes.lost
    assert (run, outcome) == ("r0", "failed") and "died 4 times" in reason and "exit code 3" in reason
    assert handed(bridge, "t9") == "finished"


def test_while_a_run_is_in_flight_the_search_is_not_over() -> None:
    bridge, _, _ = bridge_of(1)
    assert handed(bridge, "t0") == "r0"
    assert handed(bridge, "t1") is None
    assert not result(bridge, "r0", outcome="completed")
    bridge.ended("t0", error=False)
    assert handed(bridge, "t2") == "finished"


def test_a_process_that_is_replaced_costs_no_life() -> None:
    bridge, notes, _ = bridge_of(1)
    for life in range(10):
        assert handed(bridge, f"t{life}") == "r0"
        die(bridge, f"t{life}", REPLACED)
    assert handed(bridge, "t10") == "r0" and not notes.lost


def test_a_process_that_dies_before_it_takes_the_run_costs_no_life_of_it_but_not_for_ever() -> None:
    bridge, notes, _ = bridge_of(1)
    for attempt in range(PROCESSES_LOST_BEFORE_A_BEGIN):
        assert bridge.suggest(f"t{attempt}") and not notes.lost
        die(bridge, f"t{attempt}", DIED)
    ((run, outcome, reason),) = notes.lost
    assert (run, outcome) == ("r0", "failed") and "before they took the run" in reason


def test_a_process_that_was_killed_for_memory_is_not_started_again() -> None:
    bridge, notes, _ = bridge_of(1)
    handed(bridge, "t0")
    die(bridge, "t0", MEMORY)
    assert [(run, outcome) for run, outcome, _ in notes.lost] == [("r0", "oom")]
    assert handed(bridge, "t1") == "finished"


def test_when_tune_falls_over_a_memory_kill_the_victim_is_told_and_the_others_go_on() -> None:
    bridge, notes, _ = bridge_of(2)
    assert (handed(bridge, "t0"), handed(bridge, "t1")) == ("r0", "r1")
    bridge.fell(RuntimeError(f"Caught unexpected exception: {MEMORY}"))
    assert [(run, outcome) for run, outcome, _ in notes.lost] == [("r0", "oom")]
    assert handed(bridge, "t2") == "r1"


def test_when_tune_falls_for_an_unknown_reason_every_run_in_flight_loses_a_life() -> None:
    bridge, notes, _ = bridge_of(2)
    for life in range(RESTARTS_AFTER_DEATH + 1):
        assert {handed(bridge, f"t{life}"), handed(bridge, f"u{life}")} == {"r0", "r1"}
        bridge.fell(RuntimeError("who knows"))
    assert {(run, outcome) for run, outcome, _ in notes.lost} == {("r0", "failed"), ("r1", "failed")}
    assert handed(bridge, "t9") == "finished"


def test_a_stall_is_named_as_the_reason() -> None:
    bridge, notes, watch = bridge_of(1)
    for life in range(RESTARTS_AFTER_DEATH + 1):
        handed(bridge, f"t{life}")
        watch.silent[f"r0#{life + 1}"] = 12.0
        die(bridge, f"t{life}", DIED)
    assert "silent for 12 s" in notes.lost[0][2]


def test_the_death_of_a_process_whose_run_is_over_is_no_news() -> None:
    bridge, notes, _ = bridge_of(1)
    handed(bridge, "t0")
    result(bridge, "r0", outcome="completed")
    die(bridge, "t0", DIED)
    assert not notes.lost and handed(bridge, "t1") == "finished"


def test_after_ctrl_c_results_are_taken_nothing_starts_and_no_run_is_lost() -> None:
    bridge, notes, _ = bridge_of(3)
    assert (handed(bridge, "t0"), handed(bridge, "t1")) == ("r0", "r1")
    bridge.interruption.requested = True
    assert not result(bridge, "r0")
    bridge.ended("t0", error=False)
    die(bridge, "t1", DIED)
    assert handed(bridge, "t2") == "finished"
    assert not notes.lost and notes.waiting == ["r2"]


def test_what_the_controller_raises_is_kept_as_it_is() -> None:
    bridge, _, _ = bridge_of(1)
    handed(bridge, "t0")
    with pytest.raises(OSError, match="no space left"):
        result(bridge, "r0", progress=-1)
    assert isinstance(bridge.error, OSError)


def test_only_runs_at_work_are_expected_to_give_signs_of_life() -> None:
    bridge, _, _ = bridge_of(1)
    handed(bridge, "t0")
    assert bridge.attendance.expected().keys() == {"r0#1"}
    assert result(bridge, "r0") and bridge.attendance.expected().keys() == {"r0#1"}
    result(bridge, "r0", outcome="completed")
    assert not bridge.attendance.expected()


def test_nothing_is_remembered_of_runs_that_are_over_however_they_ended() -> None:
    bridge, notes, _ = bridge_of(4)
    assert [handed(bridge, f"t{run}") for run in range(4)] == ["r0", "r1", "r2", "r3"]
    result(bridge, "r0", outcome="completed")
    bridge.ended("t0", error=False)
    result(bridge, "r1", outcome="completed")
    die(bridge, "t1", DIED)
    die(bridge, "t2", MEMORY)
    die(bridge, "t3", DIED)
    assert handed(bridge, "t4") == "r3"
    result(bridge, "r3", outcome="completed", trial="t4")
    bridge.fell(RuntimeError("who knows"))
    assert [run for run, _, _ in notes.lost] == ["r2"]
    kept = {name: value for name, value in vars(bridge).items() if isinstance(value, (dict, set, deque, list))}
    kept["lives"] = vars(bridge._lives)["_lives"]
    assert [name for name, value in kept.items() if value] == ["slowest_call_s"]


def test_machines_that_are_lost_cost_a_run_nothing_while_it_comes_forward() -> None:
    bridge, notes, _ = bridge_of(1)
    for life in range(3 * MACHINES_LOST_WITHOUT_PROGRESS):
        assert handed(bridge, f"t{life}") == "r0"
        result(bridge, "r0", progress=1 + life // (MACHINES_LOST_WITHOUT_PROGRESS - 1), trial=f"t{life}")
        die(bridge, f"t{life}", LOST)
    assert not notes.lost


def test_a_run_under_which_machine_after_machine_is_lost_without_a_new_result_is_given_up() -> None:
    bridge, notes, _ = bridge_of(1)
    for life in range(MACHINES_LOST_WITHOUT_PROGRESS):
        assert handed(bridge, f"t{life}") == "r0" and not notes.lost
        result(bridge, "r0", progress=7, trial=f"t{life}")
        die(bridge, f"t{life}", LOST)
    ((run, outcome, reason),) = notes.lost
    assert (run, outcome) == ("r0", "failed")
    assert f"{MACHINES_LOST_WITHOUT_PROGRESS} machines were lost under the run after step 7" in reason and "no health" in reason
    assert handed(bridge, "t99") == "finished"


def test_deaths_on_a_machine_that_turns_out_to_be_gone_cost_no_life() -> None:
    bridge, notes, watch = bridge_of(1)
    watch.nodes.take(NodeSurvey(frozenset({"driver's", "far"})))
    for life in range(RESTARTS_AFTER_DEATH + 1):
        assert handed(bridge, f"t{life}") == "r0", "it goes on elsewhere at once"
        watch.where[f"r0#{life + 1}"] = "far"
        die(bridge, f"t{life}", UNAVAILABLE)
    assert handed(bridge, "t8") is None and not notes.lost, "the next life depends on what those deaths were"
    watch.nodes.take(NodeSurvey(frozenset({"driver's"})))
    assert handed(bridge, "t9") == "r0" and not notes.lost


def test_a_run_whose_worker_has_to_leave_is_handed_out_again_and_loses_no_life() -> None:
    bridge, notes, _ = bridge_of(1)
    for life in range(2 * RESTARTS_AFTER_DEATH):
        assert handed(bridge, f"t{life}") == "r0"
        assert not leave(bridge, f"t{life}", "r0", 1 + life), "Tune ends the trial"
        if life % 2:
            bridge.ended(f"t{life}", error=False)
        else:
            die(bridge, f"t{life}", LOST)
    assert handed(bridge, "t98") == "r0" and not notes.lost
    assert notes.attempts["r0"] == 2 * RESTARTS_AFTER_DEATH + 1, "each once more, and never twice for one leave"


def test_a_run_that_ends_while_its_worker_has_to_leave_has_ended() -> None:
    bridge, notes, _ = bridge_of(1)
    handed(bridge, "t0")
    payload = {"run": "r0", "progress": 3, "outcome": "completed", "metrics": {}, "once": {}, "leaving": True}
    assert not bridge.result("t0", {PAYLOAD: json.dumps(payload)})
    bridge.ended("t0", error=False)
    assert handed(bridge, "t1") == "finished" and notes.outcomes == {"r0": "completed"}


def test_what_the_process_of_an_earlier_attempt_tells_is_not_taken() -> None:
    bridge, notes, _ = bridge_of(1)
    handed(bridge, "t0")
    die(bridge, "t0", LOST)
    assert handed(bridge, "t1") == "r0"
    assert not result(bridge, "r0", outcome="completed", trial="t0") and not notes.outcomes
    assert bridge.attendance.expected().keys() == {"r0#2"}
    assert result(bridge, "r0", progress=1, trial="t1")


def test_resumed_runs_come_before_new_ones_and_before_one_that_waits_for_room() -> None:
    bridge, notes, _ = bridge_of(4)
    bridge._width = Width(2, lambda: ClusterResources(1, 0))
    assert (handed(bridge, "t0"), handed(bridge, "t1"), handed(bridge, "t2")) == ("r0", "r1", None)
    die(bridge, "t1", LOST)
    assert (handed(bridge, "t3"), handed(bridge, "t4")) == ("r1", None)
    assert notes.waiting == ["r2", "r3"]


def test_one_that_waits_for_room_lets_resumed_ones_pass() -> None:
    """Room is a matter of the cluster, and it may have shrunk since the run was suggested."""
    bridge, notes, _ = bridge_of(3)
    cpus = [2.0]
    bridge._width = Width("auto", lambda: ClusterResources(cpus[0], 0), clock=iter(range(0, 1000, 10)).__next__)
    bridge._reserver = Growing()
    assert (handed(bridge, "t0"), handed(bridge, "t1")) == ("r0", None), "the second one asks for more than is left"
    die(bridge, "t0", LOST)
    assert handed(bridge, "t2") == "r0" and notes.waiting == ["r2"]
    assert result(bridge, "r0", trial="t2") and not result(bridge, "r0", outcome="completed", trial="t2")
    bridge.ended("t2", error=False)
    assert handed(bridge, "t3") == "r1"


class Growing(FixedReserver):
    """The first run asks for one CPU, all others for two."""

    def __init__(self) -> None:
        super().__init__(1.0, 0.0)

    def reserve(self, request: RunRequest, needed_mib: float | None = None) -> Reservation:
        return Reservation(1.0 if request.run == "r0" else 2.0, 0.0)


class Settling:
    """In place of a quarantine that searches for what is free of a GPU."""

    gpus = ()
    settles = True

    def is_settling(self) -> bool:
        return self.settles

    def to_dict(self) -> dict[str, str]:
        return {"register": "nobody"}


def test_while_a_gpu_in_quarantine_is_being_held_no_run_is_handed_out_and_the_search_is_not_over() -> None:
    notes, quarantine = Notes(1), Settling()
    width = Width(1000, lambda: ClusterResources(1, 0))
    bridge = Bridge(notes, FixedReserver(1.0, 0.0), width, Interruption(), Attendance(), Nobody(), quarantine)  # type: ignore[arg-type]
    assert bridge.suggest("t0") is None and notes.waiting == ["r0"]
    quarantine.settles = False
    assert handed(bridge, "t1") == "r0"


class Slow(FixedReserver):
    """Works out what a run needs until it is told that it knows."""

    knows = False

    def is_ready(self, request: RunRequest) -> bool:
        return self.knows


def test_what_a_run_needs_is_worked_out_while_others_are_listened_to() -> None:
    notes, reserver = Notes(2), Slow(1.0, 0.0)
    width = Width(1000, lambda: ClusterResources(1, 0))
    bridge = Bridge(notes, reserver, width, Interruption(), Attendance(), Nobody())  # type: ignore[arg-type]
    assert handed(bridge, "t0") == "r0", "there is nobody else to listen to"
    assert bridge.suggest("t1") is None and bridge.suggest("t1") is None
    reserver.knows = True
    assert handed(bridge, "t1") == "r1" and notes.attempts["r1"] == 1
