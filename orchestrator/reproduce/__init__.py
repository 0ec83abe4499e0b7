"""Runs one recorded trial again, from its own record alone, and compares what comes out."""
