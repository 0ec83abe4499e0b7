"""Predicted against measured peaks of CUDA's caching allocator, over many architectures, each run in a process of its own.

A run is a whole one: two epochs, evaluations and the final evaluation. The size of cuBLAS's workspaces is measured once on the
device; everything else is predicted without it. Needs a CUDA device, torch and numpy alone.

Run ``python -m benchmarks.memory_prediction [--output PATH] [--case NAME]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks._machine import RESULTS, provenance, write_results
from trainables.memory.arithmetic import MIB
from trainables.prediction import PredictedPeak, predict_peak
from trainables.prepared import prepare_data
from trainables.training.request import RunRequest
from trainables.training.session import TrainingSession

NO_DEVICE = 2
"""Exit status on a machine without CUDA."""
MEDIAN_ERROR, TAIL_ERROR = 0.05, 0.15
"""What is asked of the relative errors: of the median, and of the 90th percentile."""

_RECALL = {"vocab_size": 2048, "input_seq_len": 128, "num_kv_pairs": 32, "train_examples": 300, "val_examples": 600}
_LONG_RECALL = {**_RECALL, "vocab_size": 8192, "input_seq_len": 512, "num_kv_pairs": 64}
_SMALL_RECALL = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 300, "val_examples": 256}
_SERIES = {"time_steps": 96, "series_length": 2000, "horizon": 64}
_TEXT = {
    **{"corpus": "facts", "input_seq_len": 256, "segments": 2, "eval_segments": 2, "eval_stride": 128},
    **{"train_tokens": 65536, "fit_tokens": 4096, "val_tokens": 16384, "test_tokens": 8192},
}
_CROPS = {
    **{"corpus": "facts", "train_tokens": 65536, "val_tokens": 32768, "train_length": 512, "val_length": 1024},
    **{"n_segments": 16, "train_crops": 32, "eval_crops": 16, "n_questions": 0},
}
_TASKS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "recall": ("mqar", _RECALL),
    "long recall": ("mqar", _LONG_RECALL),
    "small recall": ("mqar", _SMALL_RECALL),
    "series": ("forecasting", _SERIES),
    "text": ("language_modeling", _TEXT),
    "crops": ("segment_lm", _CROPS),
}
_NARROW = {"dim": 64, "n_layers": 2, "n_heads": 2}
_MEDIUM = {"dim": 256, "n_layers": 4, "n_heads": 4, "use_ffn": True}
_WIDE = {"dim": 1024, "n_layers": 8, "n_heads": 16, "use_ffn": True}
_HEADS, _ODD_HEADS, _UNEQUAL = {"dk": 64, "dv": 64}, {"dk": 50, "dv": 50}, {"dk": 32, "dv": 80}

CASES: dict[str, tuple[str, str, Mapping[str, Any], Mapping[str, Any]]] = {
    # name: (architecture, task, model, training)
    "gpt small": ("gpt", "small recall", {**_NARROW, "dim": 32, "dk": 16, "dv": 16}, {}),
    "gpt": ("gpt", "recall", {**_NARROW, **_HEADS}, {}),
    "gpt batch 128": ("gpt", "recall", {**_NARROW, **_HEADS}, {"batch_size": 128}),
    "gpt medium": ("gpt", "long recall", {**_MEDIUM, **_HEADS}, {"eval_batch_size": 64}),
    "gpt wide": ("gpt", "long recall", {**_WIDE, **_HEADS}, {"eval_batch_size": 32}),
    "gpt odd heads": ("gpt", "recall", {**_MEDIUM, **_ODD_HEADS}, {}),
    "gpt unequal heads": ("gpt", "recall", {**_MEDIUM, **_UNEQUAL}, {}),
    "gpt rope": ("gpt", "long recall", {**_MEDIUM, **_HEADS, "pos": "rope"}, {"eval_batch_size": 64}),
    "gpt accumulated": ("gpt", "text", {**_MEDIUM, **_HEADS}, {"batch_size": 8, "gradient_accumulation": 4}),
    "gpt text": ("gpt", "text", {**_MEDIUM, **_HEADS}, {"batch_size": 16}),
    "gpt wide text": ("gpt", "text", {**_WIDE, **_HEADS}, {"batch_size": 16}),
    "gpt crops": ("gpt", "crops", {**_MEDIUM, **_HEADS}, {"batch_size": 8, "gradient_accumulation": 1}),
    "unified_kv": ("unified_kv", "recall", {**_NARROW, "du": 64}, {}),
    "unified_kv medium": ("unified_kv", "long recall", {**_MEDIUM, "du": 64}, {"eval_batch_size": 64}),
    "unified_kv odd": ("unified_kv", "recall", {**_MEDIUM, "du": 42}, {}),
    "delta_net": ("delta_net", "recall", {**_NARROW, **_HEADS}, {}),
    "delta_net medium": ("delta_net", "long recall", {**_MEDIUM, **_HEADS}, {"eval_batch_size": 32}),
    "delta_net recurrent": ("delta_net", "small recall", {**_NARROW, **_HEADS, "delta_rule_backend": "recurrent"}, {}),
    "delta_net text": ("delta_net", "text", {**_MEDIUM, **_HEADS}, {"batch_size": 8}),
    "lstm": ("lstm", "series", {"hidden_size": 128}, {}),
    "lstm wide": ("lstm", "series", {"hidden_size": 768, "n_layers": 4}, {"batch_size": 128}),
    "lstm_mlp_head": ("lstm_mlp_head", "series", {"hidden_size": 256}, {"batch_size": 64}),
    "vq_mlp": ("vq_mlp", "series", {"dim": 32, "codebook_size": 512}, {}),
    "vq_ln_mlp": ("vq_ln_mlp", "series", {"dim": 64, "codebook_size": 1024}, {"batch_size": 128}),
    "vq_ln_pe_mlp": ("vq_ln_pe_mlp", "series", {"dim": 32, "codebook_size": 512}, {}),
    "grouped_vq_mlp": ("grouped_vq_mlp", "series", {"dim": 40, "groups": [512, 256, 512, 128]}, {"batch_size": 64}),
    "hierarchical_vq_mlp": ("hierarchical_vq_mlp", "series", {"dim": 40, "levels": [1024, 256, 64]}, {}),
    "grouped_hierarchical_vq_mlp": (
        *("grouped_hierarchical_vq_mlp", "series"),
        *({"dim": 40, "levels": [[512, 512, 512, 512], [256, 256], [64]]}, {"batch_size": 64}),
    ),
    "pkm": ("pkm", "text", {**_MEDIUM, **_HEADS, "n_subkeys": 64, "memory_heads": 4, "query_dim": 64}, {"batch_size": 8}),
    "pkm large": ("pkm", "text", {**_MEDIUM, **_HEADS, "n_subkeys": 256, "memory_heads": 4, "query_dim": 64}, {"batch_size": 8}),
    "topk_attention": ("topk_attention", "text", {**_MEDIUM, **_HEADS, "n_neighbors": 32}, {"batch_size": 8}),
    "topk feed-forward": (
        *("topk_attention", "text"),
        *({**_MEDIUM, **_HEADS, "n_neighbors": 32, "ffn_n_neighbors": 64}, {"batch_size": 8}),
    ),
    "memorizing_transformer": (
        *("memorizing_transformer", "text"),
        *({**_MEDIUM, **_HEADS, "memory_size": 256, "n_neighbors": 16}, {"batch_size": 8}),
    ),
    "trime local": ("trime", "text", {**_MEDIUM, **_HEADS, "variant": "local"}, {"batch_size": 8}),
    "trime long": ("trime", "text", {**_MEDIUM, **_HEADS, "variant": "long"}, {"batch_size": 8}),
    "gpt evaluated only": ("gpt", "long recall", {**_MEDIUM, **_HEADS}, {"epochs": 0, "eval_batch_size": 64}),
}
FEW = (
    *("gpt", "gpt wide", "gpt odd heads", "gpt accumulated", "unified_kv medium", "delta_net medium", "lstm wide"),
    *("vq_ln_mlp", "grouped_vq_mlp", "pkm", "topk_attention", "memorizing_transformer"),
)
"""A dozen of the cases, for a test."""


def request_of(name: str, artifacts: Path) -> RunRequest:
    architecture, kind, model, training = CASES[name]
    task, values = _TASKS[kind]
    return RunRequest(
        run=name.replace(" ", "-"),
        architecture=architecture,
        task=task,
        model=model,
        task_values=values,
        training={"epochs": 2, **training},
        artifacts=artifacts,
    )


def prediction_of(name: str, artifacts: Path, workspace_mib: float) -> PredictedPeak:
    """The prediction of a case, whose data are prepared in ``artifacts``."""
    resolved = request_of(name, artifacts).resolved()
    data = prepare_data(artifacts, resolved.task_type, resolved.task)
    return predict_peak(resolved, data, workspace_mib=workspace_mib)


def measured_peaks(request: RunRequest, device: torch.device) -> tuple[float, float]:
    """MiB allocated and reserved at most by a whole run, in a process that has done nothing on the device before."""
    session = TrainingSession(request, device)
    session.start()
    while not session.step().finished:
        pass
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / MIB, torch.cuda.max_memory_reserved(device) / MIB


def measured_workspace_mib(device: torch.device) -> float:
    """MiB of one workspace: what stays of a product and its gradients, which two threads compute."""
    weights = torch.ones(64, 64, device=device, requires_grad=True)
    (torch.ones(64, 64, device=device) @ weights).sum().backward()
    del weights
    torch.cuda.synchronize(device)
    return torch.cuda.memory_allocated(device) / MIB / 2


def run_case(name: str, workspace_mib: float) -> dict[str, Any]:
    """Prediction and measurement of a case in this process, which must be a fresh one.

    Raises:
        RuntimeError: the prediction has touched the device.
    """
    device = torch.device("cuda", 0)
    with tempfile.TemporaryDirectory() as folder:
        artifacts = Path(folder)
        prepare_data(artifacts, (resolved := request_of(name, artifacts).resolved()).task_type, resolved.task)
        started = time.perf_counter()
        predicted = prediction_of(name, artifacts, workspace_mib)
        seconds = time.perf_counter() - started
        if torch.cuda.is_initialized():
            raise RuntimeError("a prediction has begun to use the device")
        allocated, reserved = measured_peaks(request_of(name, artifacts), device)
    return {
        **{"case": name, "how": predicted.how, "reason": predicted.reason, "seconds": seconds},
        **{"predicted_allocated_mib": predicted.allocated_mib, "measured_allocated_mib": allocated},
        **{"predicted_reserved_mib": predicted.reserved_mib, "measured_reserved_mib": reserved},
        "allocated_error": predicted.allocated_mib / allocated - 1,
        "reserved_error": predicted.reserved_mib / reserved - 1,
    }


def in_process(*arguments: str) -> Any:
    """What this module prints as JSON for ``arguments`` in a process of its own.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    command = [sys.executable, "-m", "benchmarks.memory_prediction", *arguments]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{ended.stderr[-4000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def compare(names: Sequence[str]) -> dict[str, Any]:
    """All results as plain JSON values."""
    workspace = in_process("--workspace")
    cases = []
    for name in names:
        cases.append(in_process("--case", name, "--workspace-mib", str(workspace)))
        print(f"{len(cases)}/{len(names)} {name}: {100 * cases[-1]['allocated_error']:+.1f} %", file=sys.stderr)
    return {
        **provenance("torch", "numpy"),
        "gpu": torch.cuda.get_device_name(0),
        "workspace_mib": workspace,
        "errors": {kind: summary([case[f"{kind}_error"] for case in cases]) for kind in ("allocated", "reserved")},
        "cases": cases,
    }


def summary(errors: Sequence[float]) -> dict[str, float]:
    """Of relative errors the median, the 90th percentile and the largest of their sizes, and the median with its sign."""
    sizes = sorted(map(abs, errors))
    return {
        "median": statistics.median(sizes),
        "p90": sizes[min(len(sizes) - 1, round(0.9 * (len(sizes) - 1)))],
        "largest": sizes[-1],
        "bias": statistics.median(errors),
    }


def table(results: Mapping[str, Any]) -> str:
    """The results as text."""
    lines = [f"{results['gpu']}; a cuBLAS workspace has {results['workspace_mib']:.3f} MiB", ""]
    lines.append(f"{'':<30}{'allocated MiB':>15}{'error':>9}{'reserved MiB':>15}{'error':>9}{'s':>7}")
    for case in results["cases"]:
        figures = (
            f"{case[f'measured_{kind}_mib']:>15,.1f}{100 * case[f'{kind}_error']:>+8.1f}%" for kind in ("allocated", "reserved")
        )
        lines.append(f"{case['case']:<30}{''.join(figures)}{case['seconds']:>7.2f}  {case['how']}")
    for kind, errors in results["errors"].items():
        figures = (f"{name} {100 * value:.1f} %" for name, value in errors.items())
        lines += ["", f"errors of what is {kind}: {', '.join(figures)}"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "memory_prediction.json")
    parser.add_argument("--case", choices=sorted(CASES), help="this case alone, in this process, as JSON")
    parser.add_argument("--workspace-mib", type=float, default=32.0, help="of cuBLAS, for --case")
    parser.add_argument("--workspace", action="store_true", help="measure the workspace alone")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no CUDA device here, and nothing to compare predictions with", file=sys.stderr)
        sys.exit(NO_DEVICE)
    if arguments.workspace:
        print(json.dumps(measured_workspace_mib(torch.device("cuda", 0))))
    elif arguments.case:
        print(json.dumps(run_case(arguments.case, arguments.workspace_mib)))
    else:
        results = compare(list(CASES))
        write_results(arguments.output, results)
        print(table(results))


if __name__ == "__main__":
    main()
