"""Memory of a run: measured on the host and on the GPU, kept within its share, and expected by arithmetic."""

from trainables.memory.arithmetic import MIB, estimated_mib, weights_mib
from trainables.memory.baseline import DeviceBaseline
from trainables.memory.context import DeviceContext
from trainables.memory.monitor import MemoryMonitor
from trainables.memory.share import MemoryShare, SharedDevice

__all__ = [
    "MIB",
    "DeviceBaseline",
    "DeviceContext",
    "MemoryMonitor",
    "MemoryShare",
    "SharedDevice",
    "estimated_mib",
    "weights_mib",
]
