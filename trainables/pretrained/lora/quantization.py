"""Frozen matrices in 4 bits, through the package bitsandbytes.

Dettmers et al. 2023, 'QLoRA: Efficient Finetuning of Quantized LLMs' (arXiv 2305.14314): NormalFloat with double quantisation,
computing in bfloat16.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

NUMBERS_IN_BLOCK = 64
"""That have a scale; a block that goes over the end of a row is unpacked wrongly by the CPU's kernels."""

_KIND = {"compress_statistics": True, "quant_type": "nf4"}


def quantize_layers(model: Any, names: Iterable[str]) -> None:
    """Puts layers with 4-bit matrices in the place of the ``nn.Linear`` of these names in a model of transformers.

    Raises:
        ModuleNotFoundError: bitsandbytes is not installed; the text says how to.
    """
    linear = _bitsandbytes().nn.Linear4bit
    for name in names:
        old: Any = model.get_submodule(name)
        with torch.device("meta"):
            new = linear(old.in_features, old.out_features, old.bias is not None, compute_dtype=torch.bfloat16, **_KIND)
        new.weight, new.bias = _packable(old.weight.detach()), old.bias
        # The kernels for some CPUs round the scales again in evaluation, so that frozen matrices would change.
        new.support_avx512bf16_for_cpu = False
        model.set_submodule(name, new)
    # By this peft knows that its adapters go into such layers.
    model.is_loaded_in_4bit = True


def is_quantized(layer: Any, name: str) -> bool:
    """Whether the tensor ``name`` of ``layer`` is a packed matrix."""
    return name.endswith(".weight") and getattr(layer.weight, "quant_state", None) is not None


def set_matrix(layer: Any, matrix: Tensor) -> None:
    """Packs ``matrix`` (out, in), on the CPU, on the device of ``layer``, which then has it."""
    layer.weight = _packable(matrix).to(layer.weight.device)


def matrix_of(layer: Any) -> Tensor:
    """(out, in) float32: what a packed matrix stands for."""
    matrix: Tensor = _bitsandbytes().functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return matrix.float()


def scale_bytes(module: nn.Module) -> int:
    """Bytes by which packed matrices are scaled, which are neither parameters nor buffers."""
    return sum(tensor.nbytes for layer in module.modules() for tensor in _scales(layer))


def _scales(layer: Any) -> Iterator[Tensor]:
    state = getattr(getattr(layer, "weight", None), "quant_state", None)
    if state is not None:
        yield from (found for found in state.as_dict(packed=True).values() if isinstance(found, Tensor))


def _packable(matrix: Tensor) -> Any:
    return _bitsandbytes().nn.Params4bit(matrix, requires_grad=False, blocksize=NUMBERS_IN_BLOCK, **_KIND)


def _bitsandbytes() -> Any:
    try:
        return importlib.import_module("bitsandbytes")
    except ModuleNotFoundError as error:
        if error.name != "bitsandbytes":
            raise
        cure = "pip install 'memsweep[gpu]' there, or set quantize to null"
        raise ModuleNotFoundError(
            f"quantize: nf4 needs the package bitsandbytes where runs are trained: {cure}", name="bitsandbytes"
        ) from error
