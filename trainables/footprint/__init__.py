"""The memory that a model needs for a sequence: measured in a process of its own, and expected by arithmetic."""
