"""Names that the documents list are those of the code: what is reserved, and every option of an architecture."""

from __future__ import annotations

import re

import pytest
from documents import ROOT

from trainables.registry import RESERVED_ARCHITECTURES, RESERVED_TASKS, architectures, tasks

TEXT = (ROOT / "docs/architectures.md").read_text()


def test_the_reserved_names_are_listed() -> None:
    listed = set(re.findall(r"`([a-z_]+)`", TEXT.partition("# More")[2]))
    reserved = {*RESERVED_ARCHITECTURES, *RESERVED_TASKS} - architectures().keys() - tasks().keys()
    assert listed == reserved


@pytest.mark.parametrize("name", sorted(architectures()))
def test_every_option_is_described(name: str) -> None:
    described = set(re.findall(r"`([a-z_]+)`", TEXT))
    assert architectures()[name].configuration.hyperparameters().keys() <= described
