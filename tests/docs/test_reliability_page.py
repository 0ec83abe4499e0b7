"""Every test that the page of promises names is there."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_promise_names_a_test_that_exists() -> None:
    page = (REPOSITORY / "docs" / "reliability.md").read_text()
    named = NAMED.findall(page)
    assert len(named) > 40
    missing = [f"{path}::{test}" for path, test in named if f"def {test}(" not in (REPOSITORY / path).read_text()]
    assert not missing


def test_every_promise_is_held_by_a_test() -> None:
    page = (REPOSITORY / "docs" / "reliability.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) > 20 and all(NAMED.search(row.split("|")[2]) for row in rows)
