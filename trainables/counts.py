"""Parameter counts by scope: in closed form from a configuration, and measured on a built module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

SCOPES = ("block", "total", "trainable", "embedding", "buffers", "external", "stored")
"""``stored`` is total + buffers + external. Embedding means token embedding; block the layers without it, final norm and head."""


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Numbers of elements; each may be a NumPy array (one element a candidate structure)."""

    block: Any
    embedding: Any = 0
    other: Any = 0
    """Parameters outside blocks and embedding: final norm, output head."""
    frozen: Any = 0
    buffers: Any = 0
    external: Any = 0

    @property
    def total(self) -> Any:
        return self.block + self.embedding + self.other

    @property
    def trainable(self) -> Any:
        return self.total - self.frozen

    @property
    def stored(self) -> Any:
        return self.total + self.buffers + self.external

    def by_scope(self) -> dict[str, Any]:
        return {scope: getattr(self, scope) for scope in SCOPES}


def measure_counts(module: nn.Module) -> ParameterCounts:
    """Counts the parameters of a built module (any device, ``meta`` too).

    The module follows the convention of every architecture here: its layers are in ``module.blocks``, its token embedding, if
    it has one, in ``module.embedding``; what it holds outside itself is told by ``module.external_elements()``. One whose
    matrices are packed gives by ``module.unpacked()`` a module with those that they stand for.
    """
    module = getattr(module, "unpacked", lambda: module)()
    total = _elements(module.parameters())
    blocks, embedding_module = getattr(module, "blocks", None), getattr(module, "embedding", None)
    block = _elements(blocks.parameters()) if isinstance(blocks, nn.Module) else total
    embedding = _elements(embedding_module.parameters()) if isinstance(embedding_module, nn.Module) else 0
    external = getattr(module, "external_elements", lambda: 0)()
    return ParameterCounts(
        block=block,
        embedding=embedding,
        other=total - block - embedding,
        frozen=_elements(parameter for parameter in module.parameters() if not parameter.requires_grad),
        buffers=_elements(module.buffers()),
        external=external,
    )


def count_by_module(module: nn.Module) -> dict[str, int]:
    """Parameters held directly by each submodule, by dotted name; submodules without own parameters are left out."""
    counted = {name or "(root)": _elements(part.parameters(recurse=False)) for name, part in module.named_modules()}
    return {name: count for name, count in counted.items() if count}


def _elements(tensors: Any) -> int:
    return sum(tensor.numel() for tensor in tensors)
