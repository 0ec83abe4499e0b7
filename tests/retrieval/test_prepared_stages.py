"""Datastore and neighbours: what they hold, who shares them, and which are refused."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from retrieval_runs import BASE, CPU, MODEL, TASK, made, stages

from trainables.configuration import ConfigurationError
from trainables.prepared import prepare_data
from trainables.registry import architectures, tasks
from trainables.retrieval.base import build_base
from trainables.retrieval.datastore import Datastore, half_keys
from trainables.retrieval.keys import encode
from trainables.retrieval.neighbors import RetrievedSplit, kept_neighbors
from trainables.retrieval.prepared_stages import excluded_entries, inspect_datastore, retrieval_stages
from trainables.shared_weights import load_weights
from trainables.stages import StageContext, make_stages
from trainables.tasks._language.corpus_data import CorpusData

TYPE = tasks()["language_modeling"]


def _task(**changed: Any) -> Any:
    return TYPE.configuration_type.from_values({**TASK, **changed})


def _model(**changed: Any) -> Any:
    return architectures()["knn_lm"].configuration.from_values({**MODEL, **changed})


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def data(artifacts: Path) -> Path:
    return prepare_data(artifacts, TYPE, _task())


@pytest.fixture(scope="module")
def folders(artifacts: Path, data: Path) -> dict[str, Path]:
    return made(stages(), artifacts, data)


def test_an_entry_is_the_key_of_a_position_and_the_token_behind_it(folders: dict[str, Path], data: Path) -> None:
    store, corpus = Datastore.open(folders["datastore"]), CorpusData(data)
    assert store.size == TASK["train_tokens"]
    assert store.values.tolist() == corpus.tokens["train"][1:].tolist()
    base = build_base(BASE, _task())
    load_weights(base, folders["base"])
    with torch.no_grad():
        for start in (0, 16, 1008):  # windows of 32 overlap by half; each scores its second half, the first all of it
            ids = torch.from_numpy(corpus.tokens["train"][start : start + 32]).long().unsqueeze(0)
            keys = encode(base, ids, "last_ffn_input")[1][0]
            scored = slice(0 if start == 0 else 16, 32)
            torch.testing.assert_close(store.keys[start : start + 32][scored], half_keys(keys[scored]), rtol=1e-3, atol=1e-3)


def test_keys_are_what_the_feed_forward_layer_reads_or_gives() -> None:
    base: Any = build_base(BASE, _task())
    ids = torch.randint(0, 257, (2, 8))
    states, read = encode(base, ids, "last_ffn_input")
    _, given = encode(base, ids, "last_ffn_output")
    assert torch.equal(states, base.hidden_states(ids))
    torch.testing.assert_close(base.blocks[-1].ffn.branch(read), given)
    torch.testing.assert_close(read.square().mean(-1), torch.ones(2, 8), rtol=0.02, atol=0.02)
    assert read.shape == given.shape == (2, 8, 16)


def test_neighbours_of_a_split_are_its_nearest_entries_and_what_the_base_says(folders: dict[str, Path], data: Path) -> None:
    store, corpus = Datastore.open(folders["datastore"]), CorpusData(data)
    retrieved = RetrievedSplit.open(folders["neighbors-val"], store)
    count = TASK["val_tokens"]
    assert retrieved.distances.shape == retrieved.indices.shape == (count, 16)  # 16: the next above 8
    base: Any = build_base(BASE, _task())
    load_weights(base, folders["base"])
    ids = torch.from_numpy(corpus.tokens["val"][32:64]).long().unsqueeze(0)
    with torch.no_grad():
        states, keys = encode(base, ids, "last_ffn_input")
        logits = base.output_head(states)[0].log_softmax(-1)
    found = retrieved.read(torch.arange(32, 64), 8)
    distances = torch.cdist(keys[0].double(), store.keys.double()).square()
    torch.testing.assert_close(found.distances.double(), distances.topk(8, largest=False).values, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.tokens, store.tokens(retrieved.indices[32:64, :8].long()))
    targets = torch.from_numpy(corpus.tokens["val"][33:65]).long()
    torch.testing.assert_close(found.target_log_probability, logits[torch.arange(32), targets])
    torch.testing.assert_close(found.largest_log_probability, logits.max(-1).values)
    torch.testing.assert_close(found.entropy, -(logits.exp() * logits).sum(-1))
    assert torch.equal(found.largest_token, logits.argmax(-1))


def test_a_position_of_the_training_text_does_not_find_itself(artifacts: Path, data: Path) -> None:
    found = {}
    for excluded in ("nothing", "itself", "document"):
        wanted = retrieval_stages(_model(n_neighbors=4), TYPE, _task(), splits=("train",), excluded=excluded)
        folders = made(wanted, artifacts, data)
        found[excluded] = RetrievedSplit.open(folders["neighbors-train"], Datastore.open(folders["datastore"]))
    own = torch.arange(TASK["train_tokens"])
    at_zero = found["nothing"].distances[:, 0]
    assert (at_zero < 1e-2).all()  # half precision
    assert (found["nothing"].indices == own.unsqueeze(1)).any(1).float().mean() > 0.95  # others may be as near
    assert not (found["itself"].indices == own.unsqueeze(1)).any()
    assert found["itself"].distances[:, 0].mean() > 10 * at_zero.mean()
    documents = torch.from_numpy(np.array(CorpusData(data).documents["train"][:-1]))
    assert not (documents[found["document"].indices.long()] == documents.unsqueeze(1)).any()


def test_entries_of_a_document_are_a_range(data: Path) -> None:
    ranges = excluded_entries(CorpusData(data), "document").tolist()
    documents = CorpusData(data).documents["train"][:-1].tolist()
    for position in (0, 100, len(ranges) - 1):
        members = [place for place, document in enumerate(documents) if document == documents[position]]
        assert ranges[position] == [members[0], members[-1] + 1]


def test_runs_that_differ_in_the_mixture_alone_share_everything() -> None:
    def values(**changed: Any) -> list[Any]:
        return [stage.values for stage in stages(model={**MODEL, **changed})]

    assert values(knn_weight=0.5, knn_temperature=3.0, n_neighbors=16, index="faiss_flat") == values()
    assert [one == other for one, other in zip(values(n_neighbors=17), values(), strict=True)] == [True, True, False, False]
    assert [one == other for one, other in zip(values(metric="ip"), values(), strict=True)] == [True, True, False, False]
    assert [one == other for one, other in zip(values(key_layer="last_ffn_output"), values(), strict=True)] == [
        *(True, False, False, False)
    ]
    assert not any(one == other for one, other in zip(values(base={**BASE, "seed": 1}), values(), strict=True))


def test_an_approximate_index_is_a_stage_whose_recall_is_known(artifacts: Path, data: Path) -> None:
    pytest.importorskip("faiss")
    changed = {"index": "faiss_ivfpq", "nlist": 16, "nprobe": 2, "code_size": 4}
    wanted = stages(model={**MODEL, **changed})
    assert [stage.name for stage in wanted] == ["base", "datastore", "index", "neighbors-val", "neighbors-test"]
    folders = made(wanted, artifacts, data)
    store = Datastore.open(folders["datastore"])
    retrieved = RetrievedSplit.open(folders["neighbors-val"], store)
    exact = RetrievedSplit.open(made(stages(), artifacts, data)["neighbors-val"], store)
    recall = retrieved.recall_at(8)
    assert recall is not None and 0.2 < recall < 1 and exact.recall_at(8) is None
    sample = torch.linspace(0, TASK["val_tokens"] - 1, 256).long()
    hits = (retrieved.indices[sample, :8, None] == exact.indices[sample, None, :8]).any(2).float().mean().item()
    assert recall == pytest.approx(hits)
    more_probes = stages(model={**MODEL, **changed, "nprobe": 16})
    assert more_probes[2].values == wanted[2].values and more_probes[3].values != wanted[3].values


@pytest.mark.parametrize(
    ("k", "size", "kept"), [(1, 99, 16), (17, 99, 64), (64, 99, 64), (65, 99, 99), (65, 9000, 1024), (5000, 9000, 5000)]
)
def test_as_many_are_kept_as_the_next_of_a_few_numbers(k: int, size: int, kept: int) -> None:
    assert kept_neighbors(k, size) == kept


def test_a_datastore_of_another_sweep_is_taken_where_it_is_the_same(folders: dict[str, Path], data: Path, tmp_path: Path) -> None:
    reference = "datastore-x#sha256=0123456789abcdef"
    model = _model(datastore=reference)
    inspect_datastore(replace(model, datastore=str(folders["datastore"])), _task())
    _, taken, *_ = retrieval_stages(model, TYPE, _task())
    assert taken.reads_files and taken.values == stages()[1].values
    context = StageContext(tmp_path, data, CPU, files={reference: folders["datastore"]})
    again = make_stages([taken], context)["datastore"]
    assert again.name == folders["datastore"].name and (again / "keys.npy").samefile(folders["datastore"] / "keys.npy")
    with pytest.raises(FileNotFoundError, match="the driver"):
        make_stages([taken], StageContext(tmp_path / "elsewhere", data, CPU))


@pytest.mark.parametrize(
    ("model", "task", "problem"),
    [
        ({"base": {**BASE, "seed": 1}}, {}, "was built by another base"),
        ({"key_layer": "last_ffn_output"}, {}, "holds other keys"),
        ({}, {"seed": 1}, "was built from other data"),
        ({"n_neighbors": 4000}, {"train_tokens": 4096}, "was built from other data"),
        ({}, {"input_seq_len": 16}, "was built"),
    ],
)
def test_a_datastore_that_does_not_fit_is_refused(folders: dict[str, Path], model: Any, task: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"datastore: datastore-.* {problem}"):
        inspect_datastore(_model(**model, datastore=str(folders["datastore"])), _task(**task))


def test_a_folder_that_is_no_datastore_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no readable manifest"):
        inspect_datastore(_model(datastore=str(tmp_path)), _task())
    with pytest.raises(ConfigurationError, match=r"keys\.npy cannot be read"):
        inspect_datastore(_model(datastore=str(folders["base"])), _task())
    (tmp_path / "keys.npy").write_bytes((folders["datastore"] / "keys.npy").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"keys\.npy cannot be read"):
        Datastore.open(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "problem"),
    [
        ("keys.npy", lambda keys: keys[:, :8], "has 2,048 keys of 8 numbers, not 2,048 of 16"),
        ("values.npy", lambda values: values + 257, "holds values that are no tokens of this task"),
        (None, lambda array: array[:100], "has 100 keys of 16 numbers, not 2,048 of 16"),
    ],
)
def test_a_datastore_whose_files_are_not_what_its_manifest_says_is_refused(
    folders: dict[str, Path], tmp_path: Path, file: str | None, change: Any, problem: str
) -> None:
    folder = shutil.copytree(folders["datastore"], tmp_path / "store")
    for name in [file] if file else ["keys.npy", "values.npy"]:
        changed = change(np.load(folder / name))
        np.save(folder / name, changed)
    with pytest.raises(ConfigurationError, match=f"store {problem}"):
        inspect_datastore(_model(datastore=str(folder)), _task())


def test_a_manifest_without_end_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["datastore"], tmp_path / "store")
    (folder / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(ConfigurationError, match="no readable manifest"):
        inspect_datastore(_model(datastore=str(folder)), _task())
