"""Memory of a run: measured on the host and on the GPU, and expected by arithmetic."""

from trainables.memory.arithmetic import MIB, estimated_mib, weights_mib
from trainables.memory.baseline import DeviceBaseline
from trainables.memory.monitor import MemoryMonitor

__all__ = ["MIB", "DeviceBaseline", "MemoryMonitor", "estimated_mib", "weights_mib"]
