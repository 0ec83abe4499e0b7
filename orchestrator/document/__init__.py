"""The document layer: YAML text becomes positioned nodes, mistakes become diagnostics such as a compiler's."""

from orchestrator.document.diagnostics import Diagnostic, Diagnostics, SearchSpaceError, did_you_mean, render
from orchestrator.document.node import Entry, Node, child_path
from orchestrator.document.reader import Document, parse_document, parse_value, read_document
from orchestrator.document.source import Position, Source

__all__ = [
    "Diagnostic",
    "Diagnostics",
    "Document",
    "Entry",
    "Node",
    "Position",
    "SearchSpaceError",
    "Source",
    "child_path",
    "did_you_mean",
    "parse_document",
    "parse_value",
    "read_document",
    "render",
]
