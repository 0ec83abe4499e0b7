"""memsweep: everything about a sweep. Knows Ray, Optuna and MLflow; architectures and their training are in ``trainables``."""

__version__ = "0.1.0"
