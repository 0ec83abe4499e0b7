"""What can go wrong with an expression."""

from __future__ import annotations


class ExpressionError(Exception):
    """An expression that is not allowed, or has no value here; ``offset`` counts characters of its text from 0."""

    def __init__(self, message: str, offset: int = 0) -> None:
        self.message = message
        self.offset = offset
        super().__init__(message)


class NotVectorisable(Exception):
    """The expression must be evaluated row by row.

    Some row has no value, or NumPy might round or overflow where Python does not.
    """


class Refusal(Exception):
    """An operation has no value for its operands; the evaluator adds the offset."""
