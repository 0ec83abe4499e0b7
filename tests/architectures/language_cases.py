"""Every token architecture that models language, small, with the options that change what it reads; sessions of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainables.language import TokenBatch
from trainables.registry import architectures
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

CPU = torch.device("cpu")
WINDOW = 16
TASK: dict[str, Any] = {
    **{"corpus": "facts", "input_seq_len": WINDOW, "segments": 2, "eval_segments": 3, "eval_stride": 8},
    **{"train_tokens": 1536, "fit_tokens": 128, "val_tokens": 200, "test_tokens": 160},
}
BASE: dict[str, Any] = {
    **{"architecture": "gpt", "dim": 16, "n_layers": 1, "n_heads": 1, "dk": 16, "dv": 16, "use_ffn": True},
    "training": {"epochs": 1, "lr": 3e-3},
}
_BACKBONE: dict[str, Any] = {
    **{"model_type": "qwen2", "vocab_size": 257, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "num_key_value_heads": 1, "initializer_range": 0.2},
}
_SMALL: dict[str, Any] = {
    **{"backbone": {"config": _BACKBONE}, "short_term_memory": 4, "input_block": 8, "memory_block": 4, "dropout": 0.0},
    **{"dim": 16, "n_layers": 2, "n_heads": 2, "dk": 8, "dv": 8, "du": 8, "use_ffn": True, "init_std": 0.2},
    **{"n_neighbors": 6, "memory_size": 24, "cache": 12, "warm_up": 0.0, "base": BASE, "knn_temperature": 10.0},
    **{"memory_heads": 2, "n_subkeys": 6, "query_dim": 8, "n_buckets": 4, "min_bucket_count": 10, "hidden": 8},
}
"""Of these each architecture takes the fields that it has."""
_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "adaptive_knn_lm exponential": ("adaptive_knn_lm", {"mode": "exponential"}),
    "adaptive_knn_lm fixed": ("adaptive_knn_lm", {"mode": "fixed"}),
    "delta_net recurrent": ("delta_net", {"delta_rule_backend": "recurrent", "use_short_conv": False}),
    "gpt rope": ("gpt", {"pos": "rope", "residual_mul": True}),
    "knn_adapter dropout": ("knn_adapter", {"dropout": 0.3, "standardize": True}),
    "knn_lm inner products": ("knn_lm", {"metric": "ip", "key_layer": "last_ffn_output"}),
    "memorizing_transformer cache": ("memorizing_transformer", {"xl_cache": 10}),
    "memorizing_transformer own projections": (
        "memorizing_transformer",
        {"separate_memory_projections": True, "qk_norm": False, "segment_len": 8},
    ),
    "memo_gpt dual": ("memo_gpt", {"dual_ffn": True, "recompute": True, "ltm_visible_to_input": "last_n"}),
    "pkm batch norm": ("pkm", {"query_norm": "batch"}),
    "spalm other documents": ("spalm", {"exclude_document": True, "cache": 0}),
    "topk_attention feed-forward": ("topk_attention", {"ffn_n_neighbors": 9, "query_chunk": 5}),
    "trime ext": ("trime", {"variant": "ext", "batching": "random", "own_memory_off": 0.5}),
    "trime ext bm25": ("trime", {"variant": "ext", "knn_weight": 0.0}),
    "trime local": ("trime", {"variant": "local"}),
}


@dataclass(frozen=True)
class Case:
    """An architecture with fields that differ from the small ones."""

    name: str
    architecture: str
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name

    def request(self, artifacts: Path) -> RunRequest:
        found = architectures()[self.architecture]
        known = found.configuration.hyperparameters()
        small = {name: value for name, value in _SMALL.items() if name in known}
        return RunRequest(
            run=self.name,
            architecture=self.architecture,
            task="language_modeling",
            model={**small, **self.values},
            task_values=TASK,
            training={"epochs": 0 if found.evaluation_only else 2, "batch_size": 16, "eval_batch_size": 8},
            artifacts=artifacts,
        )

    def started(self, artifacts: Path, device: torch.device = CPU) -> TrainingSession:
        session = TrainingSession(self.request(artifacts), device)
        session.start()
        return session


def _fitting() -> list[str]:
    return sorted(name for name, found in architectures().items() if found.fits("language_modeling", "tokens"))


CASES = {
    **{name: Case(name, name, {}) for name in _fitting()},
    **{name: Case(name, architecture, values) for name, (architecture, values) in _OPTIONS.items()},
}


def reads_stretches(case: Case) -> bool:
    return getattr(architectures()[case.architecture].build, "reads_stretches", False)


def to_the_end(session: TrainingSession) -> dict[str, float]:
    """The last metrics that the seed decides: no clocks, no memory."""
    report = session.report_again()
    while not report.finished:
        report = session.step()
    outside = ("time/", "throughput/", "memory/", "vram/")
    return {name: value for name, value in report.metrics.items() if not name.startswith(outside)}


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def digests(folders: Mapping[str, Path]) -> dict[Path, str]:
    """Of each file."""
    files = [path for folder in folders.values() for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def in_other_letters(batch: TokenBatch) -> TokenBatch:
    """A text that no stage has seen: what is known of a seen one was found in other windows than those of a test."""
    ids, targets = ((tokens * 100 + 5) % 257 for tokens in (batch.ids, batch.targets))
    return replace(batch, ids=ids, targets=targets, scored=torch.ones_like(batch.scored))


@dataclass
class Trained:
    """A session at its end: what it has measured and learned, and its checkpoint after the first epoch."""

    case: Case
    artifacts: Path
    session: TrainingSession = field(init=False)
    metrics: dict[str, float] = field(init=False)
    state: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.session = self.case.started(self.artifacts)
        self.shared, self.first = digests(self.session.stages), copied(self.session.module.state_dict())
        self.session.step()
        self.session.save(self.checkpoint)
        self.metrics = to_the_end(self.session)
        self.state = copied(self.session.module.state_dict())

    @property
    def checkpoint(self) -> Path:
        return self.artifacts / f"{self.case.name}.pt"

    @cached_property
    def module(self) -> nn.Module:
        """In double precision, so that the rounding of another shape does not choose another neighbour; what is around a base
        works in single precision, as its search does."""
        module = self.session.module
        part: nn.Module = getattr(module, "base", module)
        part.double()
        return module

    def ready(self) -> nn.Module:
        """The module in evaluation mode, its own stores filled."""
        module = self.module.eval()
        if hasattr(module, "before_evaluation"):
            with torch.inference_mode():
                module.before_evaluation(self.session.task)
        return module

    def evaluation_text(self, rows: int = 3) -> TokenBatch:
        """Rows as the module gets them of the test text in other letters, all of it scored."""
        task: Any = self.session.task
        batch: TokenBatch = next(iter(task.evaluation_batches("test", rows, windows=not reads_stretches(self.case))))
        return in_other_letters(batch)

    def training_text(self, examples: int = 2) -> TokenBatch:
        """Examples as the module is trained on, in other letters, all of them scored."""
        order = torch.arange(self.session.task.examples_per_epoch)
        batch: TokenBatch = next(iter(self.session.task.train_batches(examples, order)))
        return in_other_letters(batch)
