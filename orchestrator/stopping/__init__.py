"""Stopping rules: pure decisions over the curves of one population, the runs of one study."""

from orchestrator.stopping.population import Population
from orchestrator.stopping.rules import STOPPING_RULES, StoppingRule, stopping_rule

__all__ = ["STOPPING_RULES", "Population", "StoppingRule", "stopping_rule"]
