"""What a run has to show when it has completed: pictures, and the data that they are drawn from."""

EXHIBITS = "exhibits"
"""The folder of a run's exhibits in the run's own folder."""
