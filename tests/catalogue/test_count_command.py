"""``memsweep count``: figures of the source documents, agreement with the closed forms, and what it refuses."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.catalogue import count_configuration
from orchestrator.catalogue.available import available_architectures, available_tasks
from trainables.counts import SCOPES

SHAPE = ("dim=64", "n_layers=4", "n_heads=2")


def counted(memsweep, *arguments: str) -> dict[str, Any]:
    result = memsweep("count", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "block"),
    [
        (("gpt", *SHAPE, "dk=48", "dv=48"), 98560),
        (("gpt", *SHAPE, "dk=32", "dv=32"), 65792),
        (("unified_kv", *SHAPE, "du=64"), 98560),
        (("delta_net", *SHAPE, "dk=48", "dv=48"), 103872),
        (("delta_net", *SHAPE, "dk=48", "dv=48", "use_short_conv=false", "use_output_norm=false"), 99072),
    ],
)
def test_block_parameters_of_the_published_shapes(memsweep, arguments, block):
    assert counted(memsweep, *arguments)["params"]["block"] == block


def test_the_document_has_every_scope_the_whole_configuration_and_every_module(memsweep):
    document = counted(memsweep, "gpt", *SHAPE, "dk=48", "dv=48", "task.vocab_size=2048")
    assert list(document) == ["architecture", "config", "params", "modules"]
    assert document["architecture"] == "gpt"
    assert document["params"] == {
        **{"block": 98560, "total": 360768, "trainable": 360768, "embedding": 131072},
        **{"buffers": 0, "external": 0, "stored": 360768},
    }
    assert tuple(document["params"]) == SCOPES
    assert document["config"]["dk"] == 48
    assert document["config"]["pos"] == "rope"
    assert document["config"]["task.vocab_size"] == 2048
    assert sum(document["modules"].values()) == 360768
    assert document["modules"]["embedding"] == 131072


def test_the_configuration_of_the_document_counts_the_same_again(memsweep):
    first = counted(memsweep, "delta_net", "dim=32", "q_norm=none", "task.vocab_size=300")
    again = [f"{name}={json.dumps(value)}" for name, value in first["config"].items()]
    assert counted(memsweep, "delta_net", *again) == first


def test_people_read_the_same_figures_in_tables(memsweep):
    result = memsweep("count", "gpt", *SHAPE, "dk=48", "dv=48", "task.vocab_size=2048")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["block", "98,560"] in lines
    assert ["total", "360,768"] in lines
    assert ["output_head", "131,072"] in lines
    assert "\x1b" not in result.stdout


def test_values_are_yaml_and_the_task_can_be_named(memsweep):
    document = counted(memsweep, "gpt", "task=mqar", "use_ffn=true", "pos=none", "init_std=2e-2", "dk=0x10")
    config = document["config"]
    assert (config["use_ffn"], config["pos"], config["init_std"], config["dk"]) == (True, "none", 0.02, 16)


def closed_form(report) -> dict[str, int]:
    architecture = available_architectures()[report.architecture]
    task = {name.removeprefix("task."): value for name, value in report.config.items() if name.startswith("task.")}
    model = {name: value for name, value in report.config.items() if not name.startswith("task.")}
    return architecture.count(SimpleNamespace(**model), SimpleNamespace(**task, channels=1)).by_scope()


def test_every_architecture_is_counted_with_its_defaults_as_by_its_closed_form(memsweep):
    for name in available_architectures():
        document = counted(memsweep, name)
        assert document["params"] == closed_form(SimpleNamespace(**document)), name


@settings(max_examples=25, deadline=None)
@given(
    architecture=st.sampled_from(["gpt", "delta_net"]),
    widths=st.tuples(st.integers(1, 20), st.integers(1, 40)),
    shape=st.tuples(st.integers(1, 48), st.integers(1, 3), st.integers(1, 4)),
    flags=st.tuples(*[st.booleans()] * 3),
)
def test_the_built_module_agrees_with_the_closed_form(architecture, widths, shape, flags):
    dim, n_layers, n_heads = shape
    values = {"dim": dim, "n_layers": n_layers, "n_heads": n_heads, "dk": 2 * widths[0], "dv": widths[1]}
    values |= dict(zip(("use_ffn", "q_gated", "att_use_output_gate"), flags, strict=True))
    report = count_configuration(architecture, [f"{name}={json.dumps(value)}" for name, value in values.items()])
    assert report.params == closed_form(report)
    assert sum(report.modules.values()) == report.params["total"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gtp",), "unknown architecture `gtp`: did you mean `gpt`?"),
        (("perceptron",), "unknown architecture `perceptron`: known: gpt, "),
        (("gpt", "dmi=64"), "`gpt` has no field `dmi`: did you mean `dim`?"),
        (("gpt", "task.vocab_szie=64"), "the task `mqar` has no field `task.vocab_szie`: did you mean `task.vocab_size`?"),
        (("gpt", "task=mqra"), "unknown task `mqra`: did you mean `mqar`?"),
        (("gpt", "task=[mqar]"), "unknown task `['mqar']`"),
        (("gpt", "dim=wide"), "`dim` expected a whole number, got 'wide'"),
        (("gpt", "dim=0"), "`dim` must be at least 1, got 0"),
        (("gpt", "task.vocab_size=2"), "`task.vocab_size` must be at least 5, got 2"),
        (("gpt", "dk=7"), "make dk even"),
        (("gpt", "task.input_seq_len=9", "task.num_kv_pairs=1"), "input_seq_len must be even"),
        (("gpt", "dim"), "`dim`: write key=value"),
        (("gpt", "=4"), "`=4`: write key=value"),
        (("gpt", "dim="), "`dim=`: there is no value"),
        (("gpt", "dim=[1"), "`dim=[1`: "),
        (("gpt", "dim=1", "dim=2"), "`dim` is given twice"),
        (("gpt", "dim=999999999999999999"), "`gpt` cannot be built with these values: "),
    ],
)
def test_a_mistake_is_a_message_on_stderr_and_status_2(memsweep, arguments, message):
    result = memsweep("count", *arguments, "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"error: {message}" in result.stderr or message in result.stderr
    assert "Traceback" not in result.stderr


def test_all_mistakes_are_told_at_once(memsweep):
    result = memsweep("count", "gpt", "dmi=64", "n_heads=two", "task.vocab_size=2")
    assert len(result.stderr.splitlines()) == 3


def test_a_folder_with_a_model_is_counted_without_naming_a_task(memsweep, tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=3000, **sizes)).save_pretrained(tmp_path)
    counted = memsweep("count", "lora_values", f"backbone={tmp_path}", "--json")
    assert counted.exit_code == 0, counted.stderr
    assert json.loads(counted.stdout)["params"]["trainable"] == 2 * 8 * (2 * (32 + 32) + 32 + 48)
    refused = memsweep("count", "lora_values", f"backbone={tmp_path}", "task=segment_lm")
    assert refused.exit_code == 2 and "the backbone does not fit the task" in refused.stderr


def test_a_reserved_name_is_refused_as_not_available_yet(memsweep, monkeypatch):
    monkeypatch.setattr("orchestrator.catalogue.counting.RESERVED_ARCHITECTURES", ("promised",))
    monkeypatch.setattr("orchestrator.catalogue.counting.RESERVED_TASKS", ("promised_task",))
    assert "the architecture `promised` is not available yet" in memsweep("count", "promised").stderr
    refused = memsweep("count", "gpt", "task=promised_task")
    assert refused.exit_code == 2
    assert "the task `promised_task` is not available yet" in refused.stderr


def test_a_task_of_another_kind_is_refused_with_those_that_fit(memsweep, monkeypatch):
    class Series(available_tasks()["mqar"]):
        name = "waves"
        kind = "series"

    known = {"waves": Series, **available_tasks()}
    monkeypatch.setattr("orchestrator.catalogue.counting.available_tasks", lambda: known)
    refused = memsweep("count", "gpt", "task=waves")
    assert refused.exit_code == 2
    assert "`gpt` works on tokens, the task `waves` gives series (tasks that fit: mqar" in refused.stderr
    assert counted(memsweep, "gpt")["config"]["task.vocab_size"] == 2048
