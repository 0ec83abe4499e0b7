"""Hard constraints: relations that every trial meets before it starts, evaluated for one candidate or for many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.expression import Expression
from orchestrator.space.assignment import Assignment


@dataclass(frozen=True)
class Budget:
    """A window of parameter counts, both ends included; an open end is None."""

    scope: str
    low: int | None
    high: int | None

    def holds(self, count: Any) -> Any:
        above = True if self.low is None else count >= self.low
        below = True if self.high is None else count <= self.high
        return above & below

    def distance(self, count: Any) -> Any:
        """How far a count lies outside the window; 0 inside."""
        short = 0 if self.low is None else (self.low - count) * (count < self.low)
        over = 0 if self.high is None else (count - self.high) * (count > self.high)
        return short + over

    def describe(self) -> str:
        if self.low is None:
            return f"at most {self.high:,} {self.scope} parameters"
        if self.high is None:
            return f"at least {self.low:,} {self.scope} parameters"
        return f"{self.low:,} to {self.high:,} {self.scope} parameters"


@dataclass(frozen=True)
class HardConstraint:
    """``holds`` gives a truth value, or an array of them."""

    description: str
    holds: Callable[[Assignment], Any]


def require(expression: Expression) -> HardConstraint:
    """A ``require`` line; a candidate for which it has no value (a division by zero, say) does not meet it."""
    return HardConstraint(f"require: {expression.text}", lambda assignment: assignment.holds(expression))
