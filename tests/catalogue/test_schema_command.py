"""``memsweep schema``: it takes every shipped search space and refuses what the reader refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator.catalogue import schema_text, search_space_schema
from orchestrator.document import Diagnostics, Source, parse_document
from orchestrator.space.reading import read_search_space

ROOT = Path(__file__).parents[2]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))

SWEEP = """
name: mqar-parameter-matched
task: {name: mqar, vocab_size: 2048, input_seq_len: 128, num_kv_pairs: 32, train_examples: 40000, val_examples: 3000}
model: {dim: 64, n_layers: {choice: [2, 4]}, n_heads: {choice: [1, 2, 4]}}
architectures:
  gpt:        {dk: {int: [8, 96], step: 4}, dv: {int: [8, 96], step: 4}}
  delta_net:  {dk: {int: [8, 96], step: 4}, dv: {int: [8, 96], step: 4}}
  unified_kv: {du: {int: [8, 128], step: 4}}
training: {lr: {float: [1e-4, 1e-2], log: true}, batch_size: 32, epochs: 64}
constraints:
  params: {scope: block, target: 98560, tolerance: 2%}
  require: ["dk * n_heads <= 4 * dim"]
objective: {metric: val/accuracy, mode: max}
search: {sampler: tpe, trials: 30, per: entry, seed: 0, replicates: 1}
scheduler: {name: asha, grace_period: 24, reduction_factor: 3}
resources: {cpu: 1, gpu: auto, concurrency: auto, fusion: auto}
checkpoints: {keep: last}
tracking: {experiment: mqar}
"""

TASK = "task: mqar\n"
GPT = "architectures: {gpt: {}}\n"


def load(text: str) -> Any:
    """A document as memsweep reads it: YAML 1.2, in which 1e-4 is a number."""
    diagnostics = Diagnostics("test")
    node = parse_document(Source("test", text), diagnostics)
    assert node is not None and diagnostics.ok, diagnostics.found
    return node.plain()


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = search_space_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_committed_schema_is_what_the_command_prints(memsweep):
    printed = memsweep("schema")
    assert (printed.exit_code, printed.stderr) == (0, "")
    # A process of its own, with only the product imported: other tests may have registered architectures.
    program = "from orchestrator.catalogue import schema_text; print(schema_text(), end='')"
    made = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    committed = (ROOT / "search_spaces" / "schema.json").read_text(encoding="utf-8")
    assert committed == made, "run: memsweep schema > search_spaces/schema.json"
    assert json.loads(printed.stdout) == json.loads(schema_text())


def test_the_sweep_of_the_interface_is_valid(validator):
    validator.validate(load(SWEEP))


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.name)
def test_every_shipped_search_space_is_valid(validator, path):
    validator.validate(load(path.read_text(encoding="utf-8")))


ACCEPTED = {
    "the least": TASK + GPT,
    "an entry and sections without content": TASK
    + "architectures: {gpt: }\nmodel:\ntraining:\nsearch:\nconstraints:\nobjective:\n",
    "an entry with a name of its own": TASK + "architectures: {wide: {architecture: gpt, dim: 256}, gpt: {}}",
    "architecture has the last word over the key": TASK + "architectures: {gpt: {architecture: unified_kv, du: 32}}",
    "overrides of an entry": TASK + "architectures: {gpt: {task: {vocab_size: 512}, training: {lr: 5e-4, clip_grad: null}}}",
    "an expression": TASK + 'architectures: {gpt: {dk: "${dim // n_heads}", dv: "${dk}"}}',
    "a guard": TASK
    + "architectures: {gpt: {ffn_expand_factor: {int: [1, 4], when: 'use_ffn'}, use_ffn: {choice: [true, false]}}}",
    "a grid": "task: {name: mqar, vocab_size: {grid: [512, 1024]}}\n" + GPT,
    "plain text for a scheduler": TASK + GPT + "scheduler: none",
    "numbers as text": TASK + GPT + "constraints: {params: {max: 4.5M, min: 500k}}\nsearch: {trials: 1k}",
    "a common metric": TASK + GPT + "objective: {metric: params/stored}",
    "a list of objectives": TASK + GPT + "objective: [{metric: val/accuracy}, {metric: params/total, mode: max, at: best}]",
    "checkpoints every minute": TASK + GPT + "checkpoints: {keep: none, interval: 60}",
    "a measured constraint": TASK + GPT + "constraints: {measured: [{metric: vram/peak_reserved_mib, max: 8000}]}",
    "a float as a whole number": TASK + "architectures: {gpt: {dim: 64.0, init_std: 1}}",
}

REFUSED = {
    "a misspelt key of the top level": TASK + GPT + "serach: {trials: 3}",
    "a misspelt field": TASK + "architectures: {gpt: {dmi: 64}}",
    "a field of another architecture": TASK + "architectures: {gpt: {du: 64}}",
    "a misspelt field of an entry with a name of its own": TASK + "architectures: {wide: {architecture: gpt, du: 64}}",
    "a misspelt shared field": TASK + GPT + "model: {dmi: 64}",
    "a misspelt field of the task": "task: {name: mqar, vocab: 64}\n" + GPT,
    "a misspelt field of an entry's task": TASK + "architectures: {gpt: {task: {vocab: 64}}}",
    "a task's name in an entry": TASK + "architectures: {gpt: {task: {name: mqar}}}",
    "a misspelt field of training": TASK + GPT + "training: {learning_rate: 0.1}",
    "a misspelt field of an entry's training": TASK + "architectures: {gpt: {training: {learning_rate: 0.1}}}",
    "a misspelt option of a dimension": TASK + "architectures: {gpt: {dk: {int: [8, 16], stepp: 2}}}",
    "a misspelt key of a section": TASK + GPT + "resources: {gpus: 1}",
    "a wrong type": TASK + "architectures: {gpt: {dim: wide}}",
    "half a layer": TASK + "architectures: {gpt: {n_layers: 1.5}}",
    "a value out of range": TASK + "architectures: {gpt: {dim: 0}}",
    "an end out of range": TASK + "architectures: {gpt: {dim: {int: [0, 64]}}}",
    "real ends of whole numbers": TASK + "architectures: {gpt: {dim: {float: [1, 64]}}}",
    "one end": TASK + "architectures: {gpt: {dim: {int: [64]}}}",
    "no choice": TASK + "architectures: {gpt: {pos: {choice: []}}}",
    "a choice twice": TASK + "architectures: {gpt: {pos: {choice: [rope, rope]}}}",
    "a wrong choice": TASK + "architectures: {gpt: {pos: {choice: [rope, alibi]}}}",
    "an unknown architecture": TASK + "architectures: {gtp: {}}",
    "an unknown architecture of a named entry": TASK + "architectures: {wide: {architecture: gtp}}",
    "no architecture": TASK + "architectures: {}",
    "an unknown task": "task: mqra\n" + GPT,
    "a task without a name": "task: {vocab_size: 64}\n" + GPT,
    "an entry's name with a blank": TASK + "architectures: {'my gpt': {architecture: gpt}}",
    "an empty list of objectives": TASK + GPT + "objective: []",
    "more objectives than are possible": TASK + GPT + f"objective: [{', '.join(['{}'] * 9)}]",
    "an unknown metric in a list of objectives": TASK + GPT + "objective: [{metric: val/loss}, {metric: val/acuracy}]",
    "an objective that is text": TASK + GPT + "objective: [val/loss]",
    "no time between checkpoints": TASK + GPT + "checkpoints: {interval: 0}",
    "an unknown metric": TASK + GPT + "objective: {metric: val/acuracy}",
    "an unknown scheduler": TASK + GPT + "scheduler: hyperband",
    "an unknown scope": TASK + GPT + "constraints: {params: {scope: blocks, max: 4M}}",
    "a unit that does not exist": TASK + GPT + "constraints: {params: {max: 4X}}",
    "a budget without a bound": TASK + GPT + "constraints: {params: {scope: block}}",
    "a dimension in a section": TASK + GPT + "search: {seed: {int: [0, 3]}}",
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_schema_and_reader_accept(validator, tmp_path, text):
    validator.validate(load(text))
    assert not mistakes_of_the_reader(tmp_path, text)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_schema_and_reader_refuse(validator, tmp_path, text):
    assert not validator.is_valid(load(text))
    assert mistakes_of_the_reader(tmp_path, text)


def mistakes_of_the_reader(folder: Path, text: str) -> list[Any]:
    from orchestrator.document import SearchSpaceError

    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        read_search_space(path)
    except SearchSpaceError as error:
        return error.diagnostics
    return []


def test_fields_carry_meaning_and_default_for_editors(validator):
    definitions = validator.schema["$defs"]
    assert definitions["architecture-gpt"]["properties"]["dk"]["description"] == "width of one head's queries and keys"
    assert definitions["architecture-delta_net"]["properties"]["q_norm"]["default"] == "l2"
    assert definitions["training-mqar"]["properties"]["weight_decay"]["default"] == 0.1
    assert "default" not in validator.schema["properties"]["model"]["properties"]["q_norm"]


def test_every_reference_has_its_definition(validator):
    text = json.dumps(validator.schema)
    used = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert used == set(validator.schema["$defs"])
