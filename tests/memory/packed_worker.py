"""A program: one worker process that shares a GPU with others, and does what it is told, line by line, in JSON.

``{"do": "start", "request": …, "share": …}``, ``{"do": "advance"}``, ``{"do": "stop"}``; each is answered with one line. The
architecture ``hoarder`` takes 32 MiB after 32 MiB in its second epoch until it is refused.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from small_runs import Intercepted

from trainables import registry
from trainables.memory import MemoryShare
from trainables.training.request import RunRequest
from trainables.training.worker import RunWorker

STEPS_OF_AN_EPOCH = 7
CHUNK_BYTES = 2**25


def hoard(module: Intercepted, states: torch.Tensor) -> torch.Tensor:
    hoarded = []
    while module.calls > STEPS_OF_AN_EPOCH:
        hoarded.append(torch.empty(CHUNK_BYTES, dtype=torch.uint8, device=states.device))
    return states


def register_hoarder() -> None:
    gpt = registry.architectures()["gpt"]
    build = lambda model, task: Intercepted(gpt.build(model, task), hoard)  # noqa: E731
    registry.architectures()["hoarder"] = dataclasses.replace(gpt, name="hoarder", build=build)


def answer(worker: RunWorker, order: dict[str, Any]) -> dict[str, Any]:
    match order["do"]:
        case "start":
            worker.start(RunRequest.from_dict(order["request"]), MemoryShare.from_values(order["share"]))
            return {}
        case "advance":
            return worker.advance()
        case "stop":
            worker.stop()
            reserved = torch.cuda.memory_reserved() if torch.cuda.is_available() else 0
            return {"is_clean": worker.is_clean, "reserved_mib": reserved / 2**20}
    raise ValueError(order)


def main() -> None:
    register_hoarder()
    worker = RunWorker(torch.device(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(answer(worker, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
