"""The ``memsweep`` command."""
