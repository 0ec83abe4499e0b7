"""Runs a sweep on Ray Tune, through its public hooks alone."""
