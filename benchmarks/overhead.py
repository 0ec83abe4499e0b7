"""What a sweep costs beside its trials: memsweep beside Ray Tune with OptunaSearch and MLflowLoggerCallback.

Both run 32 trials of about half a second (a small gpt on multi-query associative recall) over the same dimensions with the same
seed, two at once, and record every epoch in an SQLite store of MLflow. The Tune program is what its documentation leads to: a
function that reports once an epoch, with default settings. Each side runs in a process of its own, in which Ray is started and
the libraries are imported before the clock; the clock stops when the sweep has returned and MLflow has everything. The sides take
turns.

Run ``python -m benchmarks.overhead [--output PATH] [--repeats N]``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks._machine import RESULTS, provenance, write_results

TRIALS, SLOTS, SEED = 32, 2, 0
TASK = {"vocab_size": 64, "input_seq_len": 32, "num_kv_pairs": 4, "train_examples": 1024, "val_examples": 128}
MODEL = {"dim": 16, "n_layers": 1}
EPOCHS, BATCH_SIZE = 4, 32
WIDTHS = (4, 32, 4)
HEADS = (1, 2)
RATES = (1e-3, 1e-2)
SPACE = {
    "name": "overhead",
    "task": {"name": "mqar", **TASK},
    "model": MODEL,
    "architectures": {
        "gpt": {
            "n_heads": {"choice": list(HEADS)},
            "dk": {"int": list(WIDTHS[:2]), "step": WIDTHS[2]},
            "dv": {"int": list(WIDTHS[:2]), "step": WIDTHS[2]},
        }
    },
    "training": {"lr": {"float": list(RATES), "log": True}, "batch_size": BATCH_SIZE, "epochs": EPOCHS},
    "objective": {"metric": "val/accuracy", "mode": "max"},
    "search": {"sampler": "tpe", "trials": TRIALS, "seed": SEED},
    "resources": {"concurrency": SLOTS},
}


def run_memsweep(folder: Path) -> dict[str, Any]:
    """A memsweep sweep in ``folder``: wall seconds, seconds inside trials, epochs in MLflow, the slowest hook."""
    import yaml

    from orchestrator.launch import LaunchOptions, SweepObserver, launch
    from orchestrator.report.collect import load_sweep
    from orchestrator.space.reading import read_search_space

    space = folder / "overhead.yaml"
    space.write_text(yaml.safe_dump(SPACE))
    started = time.perf_counter()
    result = launch(read_search_space(space), LaunchOptions(folder, "overhead"), SweepObserver())
    wall = time.perf_counter() - started
    runs = load_sweep(result.folder).state.runs.values()
    return {
        "wall_s": wall,
        "trials": sum(run.outcome == "completed" for run in runs),
        "trial_s": sum(run.metrics["time/total_s"] for run in runs),
        "recorded_epochs": recorded_epochs(result.folder.default_tracking_uri),
        "slowest_call_s": result.slowest_call_s,
    }


def run_tune(folder: Path) -> dict[str, Any]:
    """The same trials in plain Ray Tune: wall seconds, seconds inside trials, epochs in MLflow."""
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    data = prepare_data(folder)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    widths = (WIDTHS[0], WIDTHS[1] + 1, WIDTHS[2])
    space = {
        "n_heads": tune.choice(list(HEADS)),
        "dk": tune.qrandint(*widths),
        "dv": tune.qrandint(*widths),
        "lr": tune.loguniform(*RATES),
        "data": str(data),
    }
    started = time.perf_counter()
    tuner = tune.Tuner(
        train_as_a_user_would,
        param_space=space,
        tune_config=tune.TuneConfig(metric="val/accuracy", mode="max", search_alg=OptunaSearch(seed=SEED), num_samples=TRIALS),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name="overhead")],
        ),
    )
    results = tuner.fit()
    wall = time.perf_counter() - started
    ended = [result.metrics for result in results if result.metrics and result.metrics["training_iteration"] == EPOCHS]
    return {
        "wall_s": wall,
        "trials": len(ended),
        "trial_s": sum(metrics["seconds"] for metrics in ended),
        "recorded_epochs": recorded_epochs(uri),
    }


def prepare_data(folder: Path) -> Path:
    from trainables.tasks.mqar import MqarConfiguration, MqarTask

    data = folder / "data"
    data.mkdir()
    MqarTask.prepare(MqarConfiguration(**TASK), data)
    return data


def train_as_a_user_would(config: dict[str, Any]) -> None:
    """A training loop by hand around the module, the data and the optimiser that a memsweep run has."""
    import torch
    from ray import tune

    from trainables.architectures.gpt import Gpt, GptConfiguration
    from trainables.tasks.mqar import MqarConfiguration, MqarTask

    started = time.perf_counter()
    torch.manual_seed(SEED)
    task = MqarTask(MqarConfiguration(**TASK), Path(config["data"]), torch.device("cpu"))
    dimensions = {name: config[name] for name in ("n_heads", "dk", "dv")}
    module = Gpt(GptConfiguration(**MODEL, **dimensions), task.configuration)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config["lr"], weight_decay=0.1)
    for _ in range(EPOCHS):
        total, steps = 0.0, 0
        module.train()
        for batch in task.train_batches(BATCH_SIZE, torch.randperm(task.examples_per_epoch)):
            optimizer.zero_grad()
            loss = task.loss(module, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            total, steps = total + loss.item(), steps + 1
        module.eval()
        with torch.inference_mode():
            metrics = task.evaluate(module, 256)
        tune.report({**metrics, "train/loss": total / steps, "seconds": time.perf_counter() - started})


def recorded_epochs(uri: str) -> int:
    """Values of ``val/accuracy`` that MLflow holds, over all runs."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("overhead")
    runs = client.search_runs([experiment.experiment_id])
    return sum(len(client.get_metric_history(run.info.run_id, "val/accuracy")) for run in runs)


SIDES: dict[str, Callable[[Path], dict[str, Any]]] = {"memsweep": run_memsweep, "tune": run_tune}


def run_side(name: str) -> dict[str, Any]:
    """One side with a Ray of its own, which has started before the clock does."""
    import optuna  # noqa: F401  (both sides need it; imported before the clock)
    import ray

    import orchestrator.launch  # noqa: F401

    ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        measured = SIDES[name](Path(folder))
    ray.shutdown()
    if (measured["trials"], measured["recorded_epochs"]) != (TRIALS, TRIALS * EPOCHS):
        raise RuntimeError(f"{name} did not do its {TRIALS} trials with {EPOCHS} epochs each: {measured}")
    return measured


def measure(repeats: int) -> dict[str, Any]:
    """All results as plain JSON values; the ratio is that of the medians."""
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    for turn in range(repeats):
        for name in list(SIDES) if turn % 2 == 0 else list(reversed(SIDES)):
            measured[name].append(_in_process(name))
            print(f"{turn + 1}/{repeats} {name}: {measured[name][-1]['wall_s']:.1f} s", file=sys.stderr)
    walls = {name: statistics.median(one["wall_s"] for one in runs) for name, runs in measured.items()}
    slowest = max(max(one["slowest_call_s"].values()) for one in measured["memsweep"])
    return {
        **provenance("ray", "optuna", "mlflow", "torch", "memsweep"),
        "trials": TRIALS,
        "slots": SLOTS,
        "ray": "started before the clock, on both sides",
        "median_wall_s": walls,
        "ratio": walls["tune"] / walls["memsweep"],
        "slowest_call_s": slowest,
        "runs": measured,
    }


def _in_process(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.overhead", "--side", name]
    ended = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{name} failed:\n{ended.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def table(results: Mapping[str, Any]) -> str:
    """The results as text."""
    walls = results["median_wall_s"]
    trial_s = {name: statistics.median(one["trial_s"] for one in runs) / TRIALS for name, runs in results["runs"].items()}
    lines = [f"{TRIALS} trials, {SLOTS} at once; Ray {results['ray']}; {results['device']}", ""]
    lines.append(f"{'':<12}{'wall s':>8}{'ratio':>8}{'s in a trial':>14}")
    lines += [f"{name:<12}{wall:>8.1f}{wall / walls['memsweep']:>7.2f}x{trial_s[name]:>14.2f}" for name, wall in walls.items()]
    return "\n".join([*lines, "", f"slowest call of a hook: {1e3 * results['slowest_call_s']:.0f} ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "overhead.json")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=sorted(SIDES), help="run one side alone and print its figures as JSON")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(run_side(arguments.side)))
        return
    results = measure(arguments.repeats)
    write_results(arguments.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
