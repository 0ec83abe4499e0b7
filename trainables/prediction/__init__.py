"""The peak of PyTorch's CUDA caching allocator in a run, expected on a machine that has no GPU."""

from trainables.prediction.peak import PredictedPeak, predict_peak

__all__ = ["PredictedPeak", "predict_peak"]
