"""What ``plan`` says of what runs share: each thing that is made once, whatever the trials."""

from __future__ import annotations

from search_space_text import specified

from orchestrator.check import check_feasibility
from orchestrator.plan import make_plan, render_plan
from orchestrator.sweep.stages import shared_stages

SPACE = """
task: {name: language_modeling}
model: {base: {architecture: gpt, dim: 16, n_layers: 1, dk: 8, dv: 8, use_ffn: true}}
architectures:
  knn_lm: {n_neighbors: {int: [2, 60]}, knn_weight: {float: [0, 0.9]}, knn_temperature: {float: [0.1, 10], log: true}}
  adaptive_knn_lm: {n_neighbors: {choice: [16, 64]}, n_buckets: {choice: [1, 4]}}
"""


def test_entries_share_a_base_and_a_store_and_the_neighbours_that_they_agree_in() -> None:
    specification = specified(SPACE)
    names = [shared.stage.name for shared in shared_stages(specification)]
    assert sorted(set(names)) == ["base", "datastore", "neighbors-fit", "neighbors-test", "neighbors-val"]
    assert [names.count(name) for name in ("base", "datastore", "neighbors-val", "neighbors-fit")] == [1, 1, 2, 2]
    assert names.index("base") < names.index("datastore") < names.index("neighbors-val")


def test_the_plan_names_what_is_made_once() -> None:
    specification = specified(SPACE)
    text = render_plan(specification, check_feasibility(specification)[0], make_plan(specification))
    assert "made once, before the runs: base model gpt, datastore, neighbours of val (2 times)" in text


def test_another_base_has_a_store_of_its_own() -> None:
    bases = "{choice: [{architecture: gpt, dim: 16, use_ffn: true}, {architecture: gpt, dim: 32, use_ffn: true}]}"
    start, end = SPACE.index("{base: ") + len("{base: "), SPACE.index("}}\narch") + 1
    names = [shared.stage.name for shared in shared_stages(specified(SPACE[:start] + bases + SPACE[end:]))]
    assert (names.count("base"), names.count("datastore")) == (2, 2)


def test_most_architectures_share_nothing_but_data() -> None:
    specification = specified("task: {name: mqar}\narchitectures: {gpt: {}}\n")
    assert shared_stages(specification) == [] and make_plan(specification).shared == ()


def test_the_frozen_base_is_in_no_checkpoint() -> None:
    planned = make_plan(specified(SPACE))
    assert planned.largest_checkpoint == 0, "nothing of these is trained"
