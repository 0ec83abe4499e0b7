"""The weight files of a model folder, and their way into a module."""

from __future__ import annotations

import importlib
import json
import re
import tempfile
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch

from trainables.pretrained.config import causal_configuration
from trainables.pretrained.model import PretrainedLanguageModel
from trainables.pretrained.transformers_package import quiet

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_OTHER_WEIGHTS = "the weights are another model's, copy both from one model"
_LENGTH_OF_CHECK = 8
_TOLERANCE = 1e-3


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, after the index where there are several; each can be opened.

    Raises:
        ValueError: there are none, or they are pickled, damaged or incomplete.
    """
    if (folder / WEIGHTS_FILE).is_file():
        shards, files = [folder / WEIGHTS_FILE], []
    elif (folder / INDEX_FILE).is_file():
        shards, files = _shards(folder / INDEX_FILE), [folder / INDEX_FILE]
    else:
        raise ValueError(f"{folder} has no weights: {_cure_without_weights(folder)}")
    for shard in shards:
        _require_readable(shard)
    return files + shards


def require_shapes(module: PretrainedLanguageModel, folder: Path) -> None:
    """Compares the names and shapes in the weight files with those of ``module``, as far as both name tensors alike.

    Only the heads of the files are read, so that a folder whose weights are another model's is known before anything starts.

    Raises:
        ValueError: a tensor has another shape, a layer is only on one side, or no tensor has a name of the model.
    """
    wanted = {name: list(tensor.shape) for name, tensor in module.model.state_dict().items()}
    found: set[str] = set()
    for file in weight_files(folder):
        shapes = _named_as(wanted, f"{module.model.base_model_prefix}.", _shapes(file))
        found |= shapes.keys()
        for name, shape in shapes.items():
            known = wanted.get(name, shape)
            if known != shape:
                sizes = f"{'×'.join(map(str, shape))}, and by config.json {'×'.join(map(str, known))}"
                raise ValueError(f"{file}: {name} is {sizes}: {_OTHER_WEIGHTS}")
    _require_layers(module, wanted, found, folder)


def _named_as(wanted: Mapping[str, Any], prefix: str, shapes: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The shapes whose names the model has in some layer, with its prefix where the file leaves it out."""
    kinds = {_kind(name) for name in wanted}
    full = {name if _kind(name) in kinds else prefix + name: shape for name, shape in shapes.items()}
    return {name: shape for name, shape in full.items() if _kind(name) in kinds}


def _kind(name: str) -> str:
    """The name without the numbers of layers."""
    return re.sub(r"\.\d+(?=\.)", ".#", name)


def _require_layers(module: PretrainedLanguageModel, wanted: Mapping[str, Any], found: Set[str], folder: Path) -> None:
    """A kind of tensor that both sides have must be in the same layers; other kinds may be stored under other names."""
    if not found:
        raise ValueError(f"{folder}: no tensor of its weights has a name of a {module.config['model_type']}: {_OTHER_WEIGHTS}")
    kinds = {_kind(name) for name in found}
    missing = {name for name in wanted if _kind(name) in kinds} - found
    for names, where in ((missing, "in the model of config.json alone"), (found - wanted.keys(), "in the weights alone")):
        left = sorted(name for name in names if not _is_ignored(module, name))
        if left:
            raise ValueError(f"{folder}: the tensor {left[0]} is {where}: {_OTHER_WEIGHTS}")


def _is_ignored(module: PretrainedLanguageModel, name: str) -> bool:
    """Whether the library itself passes over such a tensor, as over layers that predict further tokens."""
    lists = ("_keys_to_ignore_on_load_missing", "_keys_to_ignore_on_load_unexpected")
    return any(re.search(pattern, name) for kept in lists for pattern in getattr(module.model, kept, None) or ())


def _shapes(file: Path) -> dict[str, list[int]]:
    if file.suffix != ".safetensors":
        return {}
    safetensors = importlib.import_module("safetensors")
    with safetensors.safe_open(file, framework="pt") as opened:
        return {name: list(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 - it is no mapping


def load_pretrained(module: PretrainedLanguageModel, folder: Path) -> None:
    """Copies the weights of a model folder into ``module``, in float32, and holds the module to the model's own logits.

    Raises:
        ValueError: the weights are not this model's, or its probabilities are not the softmax of ``output_head``.
    """
    loaded = _loaded(module, folder)
    module.model.load_state_dict(loaded.state_dict())
    _require_same_logits(module, folder)


def _loaded(module: PretrainedLanguageModel, folder: Path) -> Any:
    """The model as transformers reads it, out of a folder with links to the weights and nothing else of the model's.

    What else lies in a folder could lead the library to adapters, to pickled files or to other models.
    """
    configuration = causal_configuration(module.config)
    with tempfile.TemporaryDirectory() as alone, quiet():
        for file in weight_files(folder):
            (Path(alone) / file.name).symlink_to(file.resolve())
        configuration.save_pretrained(alone)
        try:
            loaded, found = type(module.model).from_pretrained(
                alone,
                config=configuration,
                attn_implementation=module.attention,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # of the library, of safetensors and of torch
            raise ValueError(f"the weights in {folder} do not fit its config.json: {error}") from error
    if wrong := [*found["missing_keys"], *found["mismatched_keys"]]:
        raise ValueError(f"the weights in {folder} lack {len(wrong)} tensors of the model, such as {wrong[0]}: save it again")
    return loaded


@torch.no_grad()
def _require_same_logits(module: PretrainedLanguageModel, folder: Path) -> None:
    device = next(module.parameters()).device
    length = min(_LENGTH_OF_CHECK, module.sizes.positions or _LENGTH_OF_CHECK)
    ids = (torch.arange(length, device=device) % module.sizes.vocabulary).unsqueeze(0)
    logits = module.output_head(module.hidden_states(ids))
    own = module.model(input_ids=ids, use_cache=False).logits
    if not torch.isfinite(own).all():
        raise ValueError(f"{folder}: the weights give logits that are no numbers (NaN or infinite): copy the folder again")
    if not torch.allclose(logits, own, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ValueError(f"{folder}: a {module.config['model_type']} does more to its logits than its output head: take another")
    shorter = module.hidden_states(ids[:, :-1])
    if not torch.allclose(module.hidden_states(ids)[:, :-1], shorter, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise ValueError(f"{folder}: the model looks at later tokens, so it is not a causal one: take another")


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index} is not an index of weights ({error}): save the model again") from error
    for name in names:
        if not isinstance(name, str) or not name.endswith(".safetensors") or Path(name).name != name:
            raise ValueError(f"{index} names {name!r}, which is no safetensors file beside it: save the model again")
        if not (index.parent / name).is_file():
            raise ValueError(f"{index.parent} is incomplete: {name} is missing; copy the whole folder")
    return [index.parent / name for name in names]


def _require_readable(file: Path) -> None:
    safetensors = importlib.import_module("safetensors")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            opened.keys()
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"{file} cannot be read as safetensors ({error}): copy or save it again") from error


def _cure_without_weights(folder: Path) -> str:
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        return (
            f"it holds pickled ones, which are not read; where you trust them, convert them to {WEIGHTS_FILE} with "
            "transformers: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
        )
    return f"{WEIGHTS_FILE} and {INDEX_FILE} are missing; copy the whole folder"
