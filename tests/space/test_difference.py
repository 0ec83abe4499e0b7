"""What is said of a changed search space: every change of meaning once, nothing for a change of text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import random_spaces
from search_space_text import specified

from orchestrator.space.constraint import Budget
from orchestrator.space.description import describe_budget, describe_plain, describe_value
from orchestrator.space.difference import describe_difference
from orchestrator.space.reading.constraints import _budget
from orchestrator.space.sections import ParameterBudgetConfiguration

BASE = """
name: widths
task: {name: mqar, vocab_size: 2048}
model: {dim: 64, n_layers: {choice: [2, 4]}}
architectures:
  gpt: {dk: {int: [8, 96], step: 4}, dv: "${2 * dk}"}
  delta_net: {dk: {int: [8, 96], step: 4}, dv: 16}
training: {lr: {float: [1e-4, 1e-2], log: true}, epochs: 64}
constraints:
  params: {scope: block, target: 98560, tolerance: 2%}
  require: ["dk * n_heads <= 4 * dim"]
  measured: [{metric: memory/peak_host_mib, max: 8000}]
objective: {metric: val/accuracy}
search: {trials: 30}
scheduler: {name: asha, grace_period: 24}
"""

CHANGES: dict[str, tuple[str, str, list[str]]] = {
    "a wider range": ("dk: {int: [8, 96], step: 4}, dv: 16", "dk: {int: [8, 128], step: 4}, dv: 16",
        ["delta_net.dk: int [8, 96] step 4 -> int [8, 128] step 4 (wider)"]),
    "a narrower range": ("float: [1e-4, 1e-2]", "float: [1e-3, 1e-2]",
        ["training.lr: float [1e-4, 1e-2] log -> float [1e-3, 1e-2] log (narrower)"]),
    "a step that is dropped": ("step: 4}, dv: 16", "step: 1}, dv: 16",
        ["delta_net.dk: int [8, 96] step 4 -> int [8, 96] (wider)"]),
    "another range": ("dk: {int: [8, 96], step: 4}, dv: 16", "dk: {int: [10, 98], step: 4}, dv: 16",
        ["delta_net.dk: int [8, 96] step 4 -> int [10, 98] step 4"]),
    "a choice more, for all": ("choice: [2, 4]", "choice: [2, 8, 4]",
        ["model.n_layers: choice [2, 4] -> choice [2, 8, 4] (adds 8)"]),
    "other choices": ("choice: [2, 4]", "choice: [2, 8]", ["model.n_layers: choice [2, 4] -> choice [2, 8] (adds 8; drops 4)"]),
    "a choice that becomes a range": ("{choice: [2, 4]}", "{int: [2, 4]}",
        ["model.n_layers: choice [2, 4] -> int [2, 4] (wider)"]),
    "a fixed value": ("lr: {float: [1e-4, 1e-2], log: true}", "lr: 1e-3",
        ["training.lr: float [1e-4, 1e-2] log -> 1e-3 (fixed)"]),
    "a searched value": ("dv: 16", "dv: {choice: [16, 32]}", ["delta_net.dv: 16 -> choice [16, 32] (searched)"]),
    "a range without its logarithm": (", log: true", "",
        ["training.lr: float [1e-4, 1e-2] log -> float [1e-4, 1e-2] (the same values)"]),
    "an expression": ("${2 * dk}", "${3 * dk}", ["gpt.dv: ${2 * dk} -> ${3 * dk}"]),
    "a condition": ("n_layers: {choice: [2, 4]}", 'n_layers: {choice: [2, 4], when: "dk > 16"}',
        ["model.n_layers: choice [2, 4] -> choice [2, 4] when dk > 16"]),
    "a constant of the task": ("vocab_size: 2048", "vocab_size: 4096", ["task.vocab_size: 2048 -> 4096"]),
    "a grid": ("vocab_size: 2048", "vocab_size: {grid: [2048, 4096, 512]}",
        ["task.vocab_size: 2048 -> grid [2048, 4096, 512] (adds 4096, 512)"]),
    "a new field": ("dim: 64", "dim: 64, use_ffn: true", ["model.use_ffn: false -> true"]),
    "a field of one entry": ("dv: 16", "dv: 16, training: {epochs: 32}", ["delta_net.training.epochs: 64 -> 32"]),
    "a new entry": ("architectures:\n", "architectures:\n  second: {architecture: gpt}\n",
        ["+ entry second (architecture gpt)"]),
    "an entry less": ("  delta_net: {dk: {int: [8, 96], step: 4}, dv: 16}\n", "", ["- entry delta_net"]),
    "another architecture": ("delta_net: {", "delta_net: {architecture: gpt, ",
        ["entry delta_net: architecture delta_net -> gpt"]),
    "another architecture with other fields": (
        "delta_net: {dk: {int: [8, 96], step: 4}, dv: 16", "delta_net: {architecture: unified_kv, du: 16",
        ["entry delta_net: architecture delta_net -> unified_kv", "- delta_net.dk: int [8, 96] step 4",
         "- delta_net.dv: 16", "+ delta_net.du: 16"]),
    "a wider budget": ("tolerance: 2%", "tolerance: 5%", ["constraints.params: block 98,560 ± 2% -> block 98,560 ± 5% (wider)"]),
    "a budget of another scope": ("scope: block", "scope: total",
        ["constraints.params: block 98,560 ± 2% -> total 98,560 ± 2%"]),
    "a budget with open end": ("target: 98560, tolerance: 2%", "max: 100000",
        ["constraints.params: block 98,560 ± 2% -> block at most 100,000"]),
    "no budget": ("  params: {scope: block, target: 98560, tolerance: 2%}\n", "", ["- constraints.params: block 98,560 ± 2%"]),
    "other requirements": ("<= 4 * dim", "<= 5 * dim",
        ["+ constraints.require: dk * n_heads <= 5 * dim", "- constraints.require: dk * n_heads <= 4 * dim"]),
    "another limit": ("max: 8000", "max: 9000",
        ["+ constraints.measured: memory/peak_host_mib at most 9000",
         "- constraints.measured: memory/peak_host_mib at most 8000"]),
    "another objective": ("metric: val/accuracy", "metric: val/loss, at: best",
        ["objective.metric: val/accuracy -> val/loss", "objective.mode: max -> min", "objective.at: last -> best"]),
    "more trials": ("trials: 30", "trials: 60, sampler: random", ["search.sampler: tpe -> random", "search.trials: 30 -> 60"]),
    "another stopping rule": ("scheduler: {name: asha, grace_period: 24}", "scheduler: median",
        ["scheduler: asha (grace_period 24, reduction_factor 3, brackets 1) -> median (grace_period 1, min_samples 3)"]),
    "another option of the stopping rule": ("grace_period: 24", "grace_period: 8", ["scheduler.grace_period: 24 -> 8"]),
    "resources": ("search:", "resources: {cpu: 2, concurrency: 4}\nsearch:",
        ["resources.cpu: 1 -> 2", "resources.concurrency: auto -> 4"]),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "lines"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_meaning_is_said(old: str, new: str, lines: list[str]) -> None:
    assert BASE.count(old) == 1
    before, after = specified(BASE), specified(BASE.replace(old, new))
    assert describe_difference(before, after) == lines
    assert len(describe_difference(after, before)) == len(lines)


REWRITTEN = """
# Another text with the same meaning.
scheduler: {grace_period: 24, name: asha, reduction_factor: 3.0, min_samples: 7}
search: {trials: 30, sampler: tpe, seed: 0}
objective: {mode: max, metric: val/accuracy}
constraints:
  measured:
    - {max: 8k, metric: memory/peak_host_mib}
  require: ["(dk*n_heads) <= (4 * dim)"]
  params: {scope: block, min: 96589, max: 100531}
training: {epochs: 64.0, lr: {log: true, float: [0.0001, 0.01]}, batch_size: 32}
architectures:
  delta_net: {n_layers: {choice: [4, 2]}, dim: 64, dv: {choice: [16]}, dk: {int: [8, 99], step: 4}}
  gpt: {n_layers: {choice: [2, 4]}, dim: 64, dv: "${ 2*dk }", dk: {step: 4, int: [8, 96]}, use_att: true}
task: {vocab_size: 2048, name: mqar, train_examples: 40000}
name: another-name
"""


def test_a_change_of_text_alone_is_not_said() -> None:
    assert describe_difference(specified(BASE), specified(REWRITTEN)) == []
    assert describe_difference(specified(REWRITTEN), specified(BASE)) == []


def test_the_number_of_trials_that_is_left_out_is_the_number_that_is_taken() -> None:
    left_out = BASE.replace("search: {trials: 30}\n", "")
    assert describe_difference(specified(left_out), specified(BASE.replace("trials: 30", "trials: 20"))) == []


def test_options_of_a_stopping_rule_that_it_does_not_look_at_are_not_said() -> None:
    before = BASE.replace("scheduler: {name: asha, grace_period: 24}", "scheduler: {name: none, grace_period: 4}")
    assert describe_difference(specified(before), specified(before.replace("grace_period: 4", "grace_period: 8"))) == []


def test_a_change_alike_in_some_entries_is_one_line_with_their_names() -> None:
    before = BASE.replace("training: {lr", "  unified_kv: {n_layers: 2}\ntraining: {lr")
    after = before.replace("choice: [2, 4]", "choice: [2]")
    assert describe_difference(specified(before), specified(after)) == [
        "gpt.n_layers, delta_net.n_layers: choice [2, 4] -> choice [2] (drops 4)"
    ]


def test_a_change_of_cells_is_said_once() -> None:
    before, after = (
        BASE.replace("vocab_size: 2048", f"vocab_size: {{grid: [{sizes}]}}") for sizes in ("512, 2048", "2048, 8192")
    )
    assert describe_difference(specified(before), specified(after)) == [
        "task.vocab_size: grid [512, 2048] -> grid [2048, 8192] (adds 8192; drops 512)"
    ]
    assert describe_difference(specified(before), specified(before.replace("512, 2048", "2048, 512"))) == []


def test_several_objectives_are_compared_as_a_whole() -> None:
    one = specified(BASE)
    two = replace(one, objectives=(one.objective, replace(one.objective, metric="val/loss", mode="min")))
    assert describe_difference(one, two) == [
        "objective: val/accuracy, max, last -> val/accuracy, max, last and val/loss, min, last"
    ]
    assert describe_difference(two, two) == []


@settings(max_examples=40, deadline=None)
@given(random_spaces(), random_spaces())
def test_a_space_does_not_differ_from_itself_and_any_other_does(one: object, other: object) -> None:
    texts = [random.yaml() for random in (one, other)]  # type: ignore[attr-defined]
    first, again, second = specified(texts[0]), specified(texts[0]), specified(texts[1])
    assert describe_difference(first, again) == []
    forth, back = describe_difference(first, second), describe_difference(second, first)
    assert bool(forth) == bool(back) and len(set(forth)) == len(forth)
    if first.entries[0].name != second.entries[0].name:
        assert forth


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_described_number_reads_back_as_itself(number: float) -> None:
    assert float(describe_plain(number)) == number


@given(st.integers(1, 10**10), st.sampled_from([0.0, 0.01, 0.02, 0.035, 0.1, 0.25]))
def test_a_described_budget_has_the_window_that_it_says(target: int, tolerance: float) -> None:
    budget = _budget(ParameterBudgetConfiguration(scope="total", target=target, tolerance=tolerance))
    described = describe_budget(budget)
    if "±" not in described:
        assert described == f"total {budget.low:,} to {budget.high:,}"
        return
    middle, _, percent = described.removeprefix("total ").removesuffix("%").replace(",", "").partition(" ± ")
    again = ParameterBudgetConfiguration(scope="total", target=int(middle), tolerance=float(percent) / 100)
    assert _budget(again) == budget


def test_every_kind_of_value_is_described() -> None:
    text = """
task: {name: mqar}
architectures:
  gpt:
    dim: {int: [8, 64], log: true}
    dk: "${2 * n_heads}"
    use_ffn: {choice: [true, false]}
    ffn_expand_factor: {choice: [1, 2], when: "use_ffn"}
    rope_theta: {float: [10, 20], step: 0.5}
    pos: none
training: {clip_grad: {choice: [null, 1.0]}}
"""
    fields = specified(text).spaces[0].fields
    described = {name: describe_value(field.value) for name, field in fields.items() if field.written}
    assert described == {
        "dim": "int [8, 64] log",
        "dk": "${2 * n_heads}",
        "use_ffn": "choice [true, false]",
        "ffn_expand_factor": "choice [1, 2] when use_ffn",
        "rope_theta": "float [10, 20] step 0.5",
        "pos": "none",
        "training.clip_grad": "choice [null, 1]",
    }
    assert describe_plain({"a b": ["true", "x\n", 1e-4, False]}) == '{"a b": ["true", "x\\n", 1e-4, false]}'
    assert describe_budget(Budget("block", 50_000, 150_000)) == "block 50,000 to 150,000"
    assert describe_budget(Budget("block", 50_000, None)) == "block at least 50,000"
