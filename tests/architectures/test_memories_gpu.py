"""On a CUDA device memories, neighbours and their runs are those of the CPU. Needs torch, numpy and pytest; what has a base also
needs safetensors."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from language_cases import CASES, CPU, to_the_end
from torch import nn

from trainables.language import TokenBatch, target_log_probabilities
from trainables.registry import architectures
from trainables.retrieval.datastore import Datastore
from trainables.retrieval.index import IndexPlan, Searcher
from trainables.retrieval.search import nearest
from trainables.training.worker import RunWorker

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = torch.device("cuda", 0) if torch.cuda.is_available() else CPU
ROWS, LENGTH, VOCABULARY, ENTRIES, WIDTH = 3, 14, 23, 60, 8
TEXT = SimpleNamespace(vocab_size=VOCABULARY, input_seq_len=4, segments=3, train_tokens=ENTRIES)
SMALL = {"dim": 16, "dk": 8, "dv": 6, "n_layers": 2, "init_std": 0.3, "n_neighbors": 3}
BASE = {"architecture": "gpt", "use_ffn": True, "dim": WIDTH, "n_layers": 1, "dk": 4, "dv": 4}
WITHOUT_BASE = ["gpt", "memorizing_transformer cache", "memorizing_transformer own projections", "pkm"]
WITHOUT_BASE += ["topk_attention", "trime", "trime ext"]
EVALUATED = ["knn_lm", "knn_lm inner products", "adaptive_knn_lm", "adaptive_knn_lm exponential"]
TRAINED_AROUND_BASE = ["knn_adapter", "spalm", "spalm other documents"]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def text() -> TokenBatch:
    """Random text with documents of a few tokens."""
    ids = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=generator(1))
    documents = torch.randint(0, 6, (ROWS, LENGTH), generator=generator(2)).eq(0).cumsum(1)
    positions = torch.arange(ROWS * LENGTH).view(ROWS, LENGTH)
    return TokenBatch(ids, ids.roll(-1, 1), documents, positions, torch.ones_like(ids, dtype=torch.bool), "train")


def moved(batch: TokenBatch) -> TokenBatch:
    names = ("ids", "targets", "documents", "positions", "scored")
    return replace(batch, **{name: getattr(batch, name).to(CUDA) for name in names})


def built(name: str, **values: Any) -> nn.Module:
    torch.manual_seed(0)
    found = architectures()[name]
    return found.build(found.configuration.from_values({**SMALL, **values}), TEXT).double()


def assert_agree(here: nn.Module, there: nn.Module) -> None:
    """Probabilities and gradients."""
    expected, found = target_log_probabilities(here, text()), target_log_probabilities(there, moved(text()))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5)  # logits are rounded to single precision
    expected.mean().backward(), found.mean().backward()
    for (name, one), other in zip(here.named_parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(
            other.grad.cpu(), one.grad, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    with torch.inference_mode():
        expected, found = target_log_probabilities(here, text()), target_log_probabilities(there, moved(text()))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "values",
    [{}, {"xl_cache": 5}, {"separate_memory_projections": True}, {"qk_norm": False, "n_neighbors": 50, "segment_len": 3}],
)
def test_a_memorizing_transformer_agrees_with_the_cpu(values: dict[str, Any]) -> None:
    here = built("memorizing_transformer", memory_size=6, **values)
    assert_agree(here, copy.deepcopy(here).to(CUDA))


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Stages with random neighbours."""
    names = ("datastore", "neighbors-train", "neighbors-val", "neighbors-test")
    made, random = {name: tmp_path / name for name in names}, np.random.default_rng(0)
    for folder in made.values():
        folder.mkdir()
        np.save(folder / "distances.npy", np.sort(random.random((ENTRIES, 16), dtype=np.float32)))
        np.save(folder / "indices.npy", random.integers(ENTRIES, size=(ENTRIES, 16), dtype=np.int32))
        for name in ("target_log_probability", "largest_log_probability", "entropy"):
            np.save(folder / f"{name}.npy", np.zeros(ENTRIES, dtype=np.float32))
        np.save(folder / "largest_token.npy", np.zeros(ENTRIES, dtype=np.int32))
    np.save(made["datastore"] / "keys.npy", random.integers(-3, 4, size=(ENTRIES, WIDTH)).astype(np.float16))
    np.save(made["datastore"] / "values.npy", random.integers(VOCABULARY, size=ENTRIES, dtype=np.int32))
    return made


def test_spalm_agrees_with_the_cpu(folders: dict[str, Path]) -> None:
    here, there = built("spalm", cache=4, base=BASE), built("spalm", cache=4, base=BASE).to(CUDA)
    here.attach(folders, folders["datastore"]), there.attach(folders, folders["datastore"])
    assert_agree(here, there)


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_search_finds_the_same_with_the_keys_on_either_device(folders: dict[str, Path], metric: str, hidden: bool) -> None:
    """Keys and queries are whole numbers: all sums are exact, and many distances equal."""
    store = Datastore.open(folders["datastore"])
    near = Datastore.open(folders["datastore"], CUDA)
    assert near.keys.device.type == CUDA.type
    queries = torch.randint(-3, 4, (20, WIDTH), generator=generator(3)).float()
    first = torch.randint(ENTRIES - 5, (20, 1), generator=generator(4))
    excluded = torch.cat((first, first + 5), 1) if hidden else None
    expected = nearest(store, queries, 7, metric=metric, excluded=excluded)
    there = None if excluded is None else excluded.to(CUDA)
    flat = Searcher(near, IndexPlan("faiss_flat", metric), CUDA)  # on a CUDA device it is torch that searches
    found = [nearest(keys, queries.to(CUDA), 7, metric=metric, excluded=there) for keys in (store, near)]
    for distances, indices in (*found, flat.nearest(queries.to(CUDA), 7, there)):
        assert distances.device.type == indices.device.type == CUDA.type
        assert torch.equal(indices.cpu(), expected[1]) and torch.equal(distances.cpu(), expected[0])
        assert torch.equal(near.tokens(indices).cpu(), store.tokens(expected[1]))


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, dict[str, float]]]:
    """The shared inputs and the last metrics of a run on the CPU, each made once."""
    artifacts = tmp_path_factory.mktemp("artifacts")
    known: dict[str, dict[str, float]] = {}

    def of(name: str) -> tuple[Path, dict[str, float]]:
        if name not in known:
            known[name] = to_the_end(CASES[name].started(artifacts))
        return artifacts, known[name]

    return of


OnCpu = Callable[[str], tuple[Path, dict[str, float]]]


def assert_near(found: dict[str, float], expected: dict[str, float], tolerance: float) -> None:
    """Losses, and which metrics there are."""
    assert set(found) == set(expected)
    for name in ("train/loss", "val/loss", "test/loss"):
        assert found.get(name) == pytest.approx(expected.get(name), abs=tolerance)


@pytest.mark.parametrize("name", WITHOUT_BASE)
def test_a_run_measures_what_it_does_on_the_cpu(on_cpu: OnCpu, name: str) -> None:
    artifacts, expected = on_cpu(name)
    assert_near(to_the_end(CASES[name].started(artifacts, CUDA)), expected, 0.05)


@pytest.mark.parametrize("name", [*EVALUATED, *TRAINED_AROUND_BASE])
def test_a_run_around_a_base_measures_what_it_does_on_the_cpu(on_cpu: OnCpu, name: str) -> None:
    pytest.importorskip("safetensors")
    artifacts, expected = on_cpu(name)
    assert_near(to_the_end(CASES[name].started(artifacts, CUDA)), expected, 1e-3 if name in EVALUATED else 0.05)


@pytest.mark.parametrize("name", ["knn_lm", "spalm other documents"])
def test_what_is_shared_can_be_made_on_the_device(on_cpu: OnCpu, tmp_path: Path, name: str) -> None:
    """Base, datastore and neighbours."""
    pytest.importorskip("safetensors")
    assert_near(to_the_end(CASES[name].started(tmp_path, CUDA)), on_cpu(name)[1], 0.05)


@pytest.mark.parametrize("name", ["adaptive_knn_lm", "knn_adapter", "memorizing_transformer cache"])
def test_a_checkpoint_of_the_cpu_measures_the_same_on_the_device(on_cpu: OnCpu, tmp_path: Path, name: str) -> None:
    pytest.importorskip("safetensors")
    artifacts, _ = on_cpu(name)
    here = CASES[name].started(artifacts)
    here.step()
    here.save(tmp_path / "c.pt")
    there = CASES[name].started(artifacts, CUDA)
    there.load(tmp_path / "c.pt")
    with torch.inference_mode():
        expected, found = (session.task.evaluate(session.module.eval(), 8) for session in (here, there))
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", ["memorizing_transformer", "trime ext", "spalm", "knn_lm"])
def test_vram_of_a_session_is_measured_and_given_back(on_cpu: OnCpu, name: str) -> None:
    if name in ("spalm", "knn_lm"):
        pytest.importorskip("safetensors")
    worker = RunWorker(CUDA)
    worker.start(CASES[name].request(on_cpu(name)[0]))
    payload = worker.advance()
    assert payload["outcome"] != "failed", payload["error"]
    metrics = payload["metrics"]
    assert metrics["vram/peak_reserved_mib"] >= metrics["vram/peak_allocated_mib"] > 0
    assert metrics["vram/peak_allocated_mib"] >= 0.9 * payload["once"]["memory/weights_mib"]
    worker.stop()
    assert worker.is_clean and worker.leftover_mib <= 1


@pytest.mark.parametrize("name", ["adaptive_knn_lm", "knn_adapter", "spalm"])
def test_all_of_a_module_is_on_the_device(on_cpu: OnCpu, name: str) -> None:
    pytest.importorskip("safetensors")
    module = CASES[name].started(on_cpu(name)[0], CUDA).module
    assert {tensor.device.type for tensor in (*module.parameters(), *module.buffers())} == {CUDA.type}
