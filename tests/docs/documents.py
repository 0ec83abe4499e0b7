"""The documents of the repository, taken apart: fenced blocks, commands, links, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
WITH_MISTAKES = "with-mistakes"

_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``marks`` are the words behind its language."""

    document: Path
    line: int
    language: str
    marks: tuple[str, ...]
    text: str

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Shown:
    """A command of a console block with the output that the document shows, and the search space shown last before it."""

    block: Block
    command: str
    output: str
    space: Block | None

    @property
    def place(self) -> str:
        return f"{self.block.place} {self.command}"


def blocks(document: Path) -> list[Block]:
    text = document.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        language, *marks = match[1].split() or [""]
        found.append(Block(document, text.count("\n", 0, match.start()) + 1, language, tuple(marks), match[2]))
    return found


def all_blocks(language: str) -> list[Block]:
    return [block for document in DOCUMENTS for block in blocks(document) if block.language == language]


def shown_commands() -> Iterator[Shown]:
    """Every command line (``$ …``) of every console block."""
    for document in DOCUMENTS:
        space = None
        for block in blocks(document):
            space = block if block.language == "yaml" else space
            if block.language == "console":
                for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                    command, _, output = part.partition("\n")
                    yield Shown(block, command, output.strip("\n"), space)


def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    return _BLOCK.sub("", document.read_text())


def table_rows(document: Path) -> list[list[str]]:
    """The cells of every row of every table, headers included."""
    lines = [line for line in prose(document).splitlines() if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
