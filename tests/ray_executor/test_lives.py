"""What a death costs a run, and what is known of nodes, with every clock in the hands of the test."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.ray_executor.death import Death
from orchestrator.ray_executor.lives import MACHINES_LOST_WITHOUT_PROGRESS, RESTARTS_AFTER_DEATH, Lives
from orchestrator.ray_executor.nodes import NOTICED_S, Nodes, NodeSurvey

DIED, LOST = Death("died", "it crashed"), Death("lost", "its node has died")


class World:
    def __init__(self, *nodes: str) -> None:
        self.now = 0.0
        self.nodes = Nodes("here", NodeSurvey(frozenset({"here", *nodes})), lambda: self.now)
        self.lives = Lives(self.nodes, lambda: self.now)

    def remain(self, *nodes: str) -> None:
        self.nodes.take(NodeSurvey(frozenset({"here", *nodes})))

    def die(self, node: str | None, death: Death = DIED) -> str:
        self.lives.died("r", death, True, node)
        return self.lives.verdict("r")


def test_on_the_driver_s_own_machine_every_death_counts_at_once() -> None:
    for node in ("here", None):
        world = World()
        assert [world.die(node) for _ in range(RESTARTS_AFTER_DEATH + 1)] == ["again"] * RESTARTS_AFTER_DEATH + ["over"]
        assert "died 4 times, the last time: it crashed" in (world.lives.why_over("r") or "")


def test_on_another_machine_the_last_death_counts_when_that_machine_is_known_to_live() -> None:
    world = World("far")
    assert [world.die("far") for _ in range(RESTARTS_AFTER_DEATH + 1)] == ["again"] * RESTARTS_AFTER_DEATH + ["wait"]
    world.now = NOTICED_S - 1
    assert world.lives.verdict("r") == "wait"
    world.now = NOTICED_S
    assert world.lives.verdict("r") == "over"


def test_a_machine_that_is_gone_takes_its_deaths_with_it() -> None:
    world = World("far", "other")
    for _ in range(RESTARTS_AFTER_DEATH):
        assert world.die("far") == "again"
    assert world.die("other") == "wait"
    world.remain("other")
    assert world.lives.verdict("r") == "again"
    world.now = 2 * NOTICED_S
    assert world.lives.verdict("r") == "again", "one of the four was a death, the others were not"
    assert [world.die("here") for _ in range(RESTARTS_AFTER_DEATH)][-1] == "over"


def test_where_nobody_knows_the_machine_one_that_went_at_that_time_is_blamed() -> None:
    world = World("far")
    for _ in range(RESTARTS_AFTER_DEATH + 1):
        world.die(None)
    world.now = 5.0
    world.remain()
    assert world.lives.verdict("r") == "again"
    world.now = 100.0
    assert [world.die(None) for _ in range(RESTARTS_AFTER_DEATH + 1)][-1] == "wait", "it went long before"
    world.now = 100.0 + NOTICED_S
    assert world.lives.verdict("r") == "over"


def test_machines_are_lost_without_limit_while_the_run_comes_forward() -> None:
    world = World("far")
    for step in range(1, 5 * MACHINES_LOST_WITHOUT_PROGRESS):
        assert world.die("far", LOST) == "again"
        world.lives.progressed("r", step)
    world.lives.progressed("r", 3)
    verdicts = [world.die("far", LOST) for _ in range(MACHINES_LOST_WITHOUT_PROGRESS)]
    assert verdicts == ["again"] * (MACHINES_LOST_WITHOUT_PROGRESS - 1) + ["over"], "a repeated step is no step forward"
    assert "machines were lost under the run after step 49" in (world.lives.why_over("r") or "")


Deaths = st.lists(
    st.tuples(st.sampled_from(["here", "a", "b"]), st.integers(0, 2 * int(NOTICED_S)), st.booleans()), min_size=1, max_size=12
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(Deaths)
def test_whatever_happens_when_a_run_is_over_only_by_deaths_on_living_machines(deaths: list[tuple[str, int, bool]]) -> None:
    """Each: where, how much later, and whether that machine is gone afterwards."""
    world, alive, on = World("a", "b"), {"here", "a", "b"}, list[str]()
    for node, later, gone in deaths:
        world.now += later
        world.lives.died("r", DIED, True, node)
        on.append(node)
        if gone:
            alive.discard(node)
            world.remain(*alive)
    world.now += NOTICED_S
    verdict = world.lives.verdict("r")
    certain = sum(node == "here" for node in on)
    assert verdict != "wait", "after that time everything is known"
    if certain > RESTARTS_AFTER_DEATH:
        assert verdict == "over"
    if len(on) <= RESTARTS_AFTER_DEATH:
        assert verdict == "again"


def test_a_node_that_comes_back_is_another_one() -> None:
    nodes = Nodes("here", NodeSurvey(frozenset({"here", "far"})), lambda: 0.0)
    nodes.take(NodeSurvey(frozenset({"here", "new"}), leaving=frozenset({"new"})))
    assert nodes.is_lost("far", 0.0) and not nodes.is_lost("new", 0.0) and not nodes.is_lost("here", 0.0)
    assert nodes.leaving == {"new"}
