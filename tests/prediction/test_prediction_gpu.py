"""Predicted against measured peaks on a CUDA device; needs torch, numpy and pytest alone."""

import pytest
import torch

from benchmarks.memory_prediction import FEW, MEDIAN_ERROR, TAIL_ERROR, compare, table

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]


def test_runs_take_what_was_predicted() -> None:
    """A dozen runs, each in a process of its own, after the workspace of the device has been measured."""
    results = compare(FEW)
    print(table(results))
    errors = results["errors"]["allocated"]
    assert errors["median"] <= MEDIAN_ERROR and errors["p90"] <= TAIL_ERROR, table(results)
    assert all(case["how"] == "traced" for case in results["cases"])
