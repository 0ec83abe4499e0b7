"""The expression language of search spaces: a whitelisted syntax tree, evaluated on scalars or on columns of candidates."""

from orchestrator.expression.errors import ExpressionError, NotVectorisable
from orchestrator.expression.evaluator import evaluate, evaluate_each
from orchestrator.expression.interpolation import inner_expression, is_expression, misplaced_expression
from orchestrator.expression.parser import parse
from orchestrator.expression.tree import Expression

__all__ = [
    "Expression",
    "ExpressionError",
    "NotVectorisable",
    "evaluate",
    "evaluate_each",
    "inner_expression",
    "is_expression",
    "misplaced_expression",
    "parse",
]
