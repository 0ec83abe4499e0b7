"""What a driver keeps of each finished trial: memsweep beside Ray Tune alone, with trials that do no work.

Both run 2,000 trials, two at once, in processes that are used again. Tune alone is a class trainable that reports once and is
done, with random search, the same environment as under memsweep (no loggers, no callbacks, two checkpoints of the experiment)
and no tracking; memsweep keeps its record, tracks into SQLite and prints a line for each run. Each side runs in a process of its
own, whose resident memory is read every 25 trials. KiB per trial are the slope of a line through the second half, so that what
is loaded once is left out; memory that Python frees and uses again counts as bounded.

Run ``python -m benchmarks.driver_scale [--output PATH] [--trials N]``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks import _zero_work
from benchmarks._machine import RESULTS, provenance, write_results

TRIALS, SLOTS = 2000, 2
TRIALS_BETWEEN_READINGS = 25
ROOT = Path(__file__).parents[1]


class Readings:
    """Resident memory of this process by finished trials, in KiB, and when each was read (s since the first)."""

    def __init__(self) -> None:
        self.finished = 0
        self.resident_kib: dict[int, int] = {}
        self.seconds: dict[int, float] = {}
        self._started = time.perf_counter()

    def trial_finished(self) -> None:
        self.finished += 1
        if self.finished % TRIALS_BETWEEN_READINGS == 0:
            self.resident_kib[self.finished] = resident_kib()
            self.seconds[self.finished] = time.perf_counter() - self._started

    def measured(self) -> dict[str, Any]:
        """Slopes over the second half, and a few readings to look at."""
        late = [trials for trials in self.resident_kib if trials >= self.finished / 2]
        return {
            "trials": self.finished,
            "kib_per_trial": slope(late, [self.resident_kib[trials] for trials in late]),
            "ms_per_trial": 1e3 * slope(late, [self.seconds[trials] for trials in late]),
            "resident_mib": {
                str(trials): round(kib / 1024, 1)
                for trials, kib in self.resident_kib.items()
                if trials % (20 * TRIALS_BETWEEN_READINGS) == 0 or trials == min(self.resident_kib)
            },
        }


def resident_kib() -> int:
    """VmRSS of this process.

    Raises:
        OSError: there is no /proc: this benchmark needs Linux.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the line with the least squares through the points."""
    import numpy as np

    return float(np.polyfit(x, y, 1)[0])


def run_memsweep(folder: Path, trials: int) -> dict[str, Any]:
    """A sweep in ``folder``, whose lines on stderr go into a file."""
    import yaml

    from orchestrator.command_line.progress import ProgressPrinter
    from orchestrator.launch import LaunchOptions, launch
    from orchestrator.space.reading import read_search_space

    readings = Readings()

    class CountingPrinter(ProgressPrinter):
        def run_ended(self, *arguments: Any) -> None:
            super().run_ended(*arguments)
            readings.trial_finished()

    _zero_work.register()
    space = folder / "scale.yaml"
    space.write_text(yaml.safe_dump(_zero_work.zero_work_space(trials, concurrency=SLOTS)))
    printed = folder / "stderr"
    with printed.open("w") as sys.stderr:
        result = launch(read_search_space(space), LaunchOptions(folder, "scale"), CountingPrinter())
    sys.stderr = sys.__stderr__
    record = result.folder.record.read_bytes()
    return readings.measured() | {
        "completed": result.completed_trials,
        "undelivered_events": result.undelivered,
        "lines_printed": printed.read_text().count("\n"),
        "record_bytes_per_trial": len(record) / trials,
        "events_per_trial": record.count(b"\n") / trials,
        "slowest_call_s": result.slowest_call_s,
    }


def run_tune(folder: Path, trials: int) -> dict[str, Any]:
    """The same number of trials in Tune alone."""
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler

    readings = Readings()

    class CountingScheduler(FIFOScheduler):
        def on_trial_complete(self, *arguments: Any) -> None:
            readings.trial_finished()

    class Idle(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None: ...

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def step(self) -> dict[str, Any]:
            return {"loss": 0.5, "done": True}

    space = {"width": tune.randint(1, 4097), "height": tune.randint(1, 4097), "lr": tune.loguniform(1e-4, 1e-1)}
    tuner = tune.Tuner(
        tune.with_resources(Idle, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            num_samples=trials, max_concurrent_trials=SLOTS, reuse_actors=True, scheduler=CountingScheduler()
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder), verbose=0, checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False)
        ),
    )
    results = tuner.fit()
    return readings.measured() | {"completed": len(results) - results.num_errors}


SIDES: dict[str, Callable[[Path, int], dict[str, Any]]] = {"memsweep": run_memsweep, "tune": run_tune}


def run_side(name: str, trials: int) -> dict[str, Any]:
    """One side with a Ray of its own."""
    from orchestrator.ray_executor.cluster import QUIET_ENVIRONMENT
    from orchestrator.ray_executor.security import closed_ray

    os.environ.update(QUIET_ENVIRONMENT)
    with closed_ray(), tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        import ray

        runtime = {"env_vars": {"PYTHONPATH": str(ROOT)}, "worker_process_setup_hook": "benchmarks._zero_work.register"}
        ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, runtime_env=runtime)
        measured = SIDES[name](Path(folder), trials)
        ray.shutdown()
    if measured["completed"] != trials:
        raise RuntimeError(f"{name} did not complete its {trials} trials: {measured}")
    return measured


def measure(trials: int) -> dict[str, Any]:
    """All results as plain JSON values."""
    measured = {name: _in_process(name, trials) for name in SIDES}
    return {
        **provenance("ray", "optuna", "mlflow", "torch", "memsweep"),
        "slots": SLOTS,
        "more_kib_per_trial_than_tune": measured["memsweep"]["kib_per_trial"] - measured["tune"]["kib_per_trial"],
        **measured,
    }


def _in_process(name: str, trials: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.driver_scale", "--side", name, "--trials", str(trials)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{name} failed:\n{ended.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def table(results: Mapping[str, Any]) -> str:
    """The results as text."""
    lines = [f"{results['memsweep']['trials']} trials, {SLOTS} at once; {results['device']}", ""]
    lines.append(f"{'':<12}{'KiB a trial':>12}{'ms a trial':>12}{'lines':>8}")
    for name in SIDES:
        side = results[name]
        lines.append(f"{name:<12}{side['kib_per_trial']:>12.1f}{side['ms_per_trial']:>12.1f}{side.get('lines_printed', 0):>8}")
    slowest = max(results["memsweep"]["slowest_call_s"].values())
    return "\n".join([*lines, "", f"slowest call of a hook: {1e3 * slowest:.0f} ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "driver_scale.json")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--side", choices=sorted(SIDES), help="run one side alone and print its figures as JSON")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(run_side(arguments.side, arguments.trials)))
        return
    results = measure(arguments.trials)
    write_results(arguments.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
