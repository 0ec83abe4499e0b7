"""A population: the objective's curves of the runs that are compared with each other, those of one study."""

from __future__ import annotations

from collections.abc import Iterable


class Population:
    """Curves by member; ``sign`` turns every objective into one where larger is better."""

    def __init__(self, mode: str) -> None:
        self.sign = 1.0 if mode == "max" else -1.0
        self._curves: dict[str, dict[int, float]] = {}

    def add(self, member: str, epoch: int, value: float) -> None:
        self._curves.setdefault(member, {})[epoch] = self.sign * value

    @property
    def members(self) -> list[str]:
        """In the order in which they first reported."""
        return list(self._curves)

    def curve(self, member: str) -> dict[int, float]:
        """Values by epoch, larger is better."""
        return self._curves.get(member, {})

    def at_rung(self, rung: int, members: Iterable[str]) -> dict[str, float]:
        """Each member's value at the first epoch not before ``rung``; members that have not come so far are left out."""
        reached = {}
        for member in members:
            epochs = [epoch for epoch in self.curve(member) if epoch >= rung]
            if epochs:
                reached[member] = self._curves[member][min(epochs)]
        return reached
