"""Memories of n^2 slots that are found through two sets of n sub-keys."""
