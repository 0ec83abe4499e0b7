"""What running a sweep would mean, estimated without starting Ray: trials, width, memory, time and checkpoints."""

from orchestrator.plan.making import Plan, make_plan
from orchestrator.plan.text import reason_to_ask, render_plan

__all__ = ["Plan", "make_plan", "reason_to_ask", "render_plan"]
