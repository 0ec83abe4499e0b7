"""Half a minute of fuzzing; ``python tests/hostile/fuzz.py --minutes 30`` runs the same properties longer."""

from __future__ import annotations

from pathlib import Path

from fuzz import fuzz_documents, fuzz_expressions

SECONDS = 15.0


def test_whatever_a_file_holds_it_is_read_or_refused_with_its_mistakes(tmp_path: Path) -> None:
    counts = fuzz_documents(SECONDS, tmp_path)
    assert counts["refused"] > 0 and counts["read"] > 0


def test_whatever_an_expression_is_it_has_a_plain_value_or_an_error() -> None:
    counts = fuzz_expressions(SECONDS)
    assert counts["refused"] > 0 and counts["a value"] > 0 and counts["no value"] > 0
