"""Suggestions: samplers that are feasible by construction, and one study per entry or grid cell."""
