"""Relative links, images and anchors of the documents lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, prose

LINKS = [
    (document, target)
    for document in DOCUMENTS
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document))
    if not re.match(r"[a-z]+:", target)
]


def _anchors(document: Path) -> set[str]:
    """Of every heading, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("document", "target"), LINKS, ids=[f"{d.relative_to(ROOT)} {t}" for d, t in LINKS])
def test_every_link_resolves(document: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    place = document.parent / path if path else document
    assert place.exists()
    if anchor:
        assert anchor in _anchors(place)


def test_the_documents_are_linked_with_each_other() -> None:
    linked = {(document.parent / target.partition("#")[0]).resolve() for document, target in LINKS}
    assert {path for path in DOCUMENTS if path.parent.name == "docs"} <= linked


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_no_document_names_a_path_of_one_machine(document: Path) -> None:
    assert not re.search(r"(?<![\w.])/(?:work|root|home|Users|tmp)/", document.read_text())
