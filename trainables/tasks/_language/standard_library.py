"""Real text that every installation has: the documentation strings of the running Python's standard library."""

from __future__ import annotations

import ast
import functools
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from trainables.configuration import ConfigurationError

_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "__phello__", "pydoc_data"}


class StandardLibrary(Sequence[str]):
    """The documentation strings of each module, one document a module, in the order of their names; empty where it has none.

    A module is read when it is asked for, once a process.

    Raises:
        ConfigurationError: this Python has no sources of its library.
    """

    def __init__(self) -> None:
        root = Path(sysconfig.get_paths()["stdlib"])
        self._paths = _sources(root)
        if not self._paths:
            message = f"the sources of the standard library are not at {root}: use another corpus"
            raise ConfigurationError([("corpus", message)])

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        chosen = self._paths[place]
        return _documentation(chosen) if isinstance(chosen, Path) else [_documentation(path) for path in chosen]


def _sources(root: Path) -> list[Path]:
    """The files of the modules that the library lists, none of tests or of what else is installed there, sorted by name."""
    return [path for path in sorted(root.rglob("*.py")) if _belongs(path.relative_to(root).with_suffix("").parts)]


def _belongs(parts: tuple[str, ...]) -> bool:
    return parts[0] in sys.stdlib_module_names and not _LEFT_OUT.intersection(parts)


@functools.cache
def _documentation(path: Path) -> str:
    """The documentation strings of a module, its classes and its functions, in the order of the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return ""
    return "\n\n".join(text for node in _documented(tree) if (text := (ast.get_docstring(node) or "").strip()))


def _documented(node: ast.AST) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _documented(child)
