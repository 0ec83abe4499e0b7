"""The stages of retrieval: base, datastore, perhaps an index, and the neighbours of whole splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.configuration import Configuration, ConfigurationError
from trainables.language import Split
from trainables.retrieval.base import BaseSpecification, base_stage, base_width, build_base, inspect_base
from trainables.retrieval.datastore import KEYS, VALUES, Datastore, half_keys, link_store, stored_values
from trainables.retrieval.index import INDEX_FILE, IndexPlan, Searcher, build_index
from trainables.retrieval.neighbors import Excluded, base_queries, kept_neighbors, write_neighbors
from trainables.shared_weights import load_weights
from trainables.stages import Stage, StageContext
from trainables.task import Task
from trainables.tasks._language.corpus_data import CorpusData


def retrieval_stages(
    model: Any, task_type: type[Task], task: Any, *, splits: Sequence[Split] = ("val",), excluded: Excluded = "itself"
) -> list[Stage]:
    """``base``, ``datastore``, ``index`` where it is approximate, and ``neighbors-…`` of each of the splits.

    ``model`` is a :class:`trainables.retrieval.configuration.RetrievalConfiguration`. ``excluded`` says what positions of the
    split ``train`` do not find; those of other splits find everything.
    """
    base, store = base_stage(model.base, task_type, task), datastore_stage(model, task_type, task)
    plan = index_plan(model, task)
    index = [_index_stage(store, plan)] if plan.is_approximate else []
    neighbors = [_neighbors_stage(model, task_type, task, store, plan, split, excluded) for split in splits]
    return [base, store, *index, *neighbors]


def index_plan(model: Any, task: Any) -> IndexPlan:
    return IndexPlan.of(model, task.train_tokens, base_width(model.base))


def datastore_stage(model: Any, task_type: type[Task], task: Any) -> Stage:
    """``keys.npy`` float16 (N, Dk) and ``values.npy`` int32 (N,), from windows that overlap by half.

    Where the model names a ``datastore``, which was made from the same values elsewhere, its files are taken.
    """
    specification = BaseSpecification.of(model.base)

    def make(folder: Path, context: StageContext) -> None:
        base = _loaded_base(model, task, context)
        data = CorpusData(context.data)
        count = data.count("train")
        keys = np.lib.format.open_memmap(folder / KEYS, mode="w+", dtype=np.float16, shape=(count, specification.width))
        reading = {"key_layer": model.key_layer, "length": task.input_seq_len, "stride": _overlapping(task)}
        for queries in base_queries(base, data, "train", device=context.device, **reading):
            keys[queries.positions.cpu().numpy()] = half_keys(queries.keys).cpu().numpy()
            context.beat()
        keys.flush()
        np.save(folder / VALUES, np.asarray(data.tokens["train"][1:], dtype=np.int32))

    def take(folder: Path, context: StageContext) -> None:
        if model.datastore not in context.files:
            raise FileNotFoundError(f"the datastore {model.datastore} is not known here: it is the driver that takes it")
        link_store(context.files[model.datastore], folder)

    values = datastore_values(model, task_type, task)
    taken = model.datastore is not None
    return Stage("datastore", "datastore", values, take if taken else make, reads_files=taken)


def datastore_values(model: Any, task_type: type[Task], task: Any) -> dict[str, Any]:
    """What decides a datastore."""
    return {
        "base": BaseSpecification.of(model.base).values(task_type, task),
        "key_layer": model.key_layer,
        "task": task_type.name,
        "data": task_type.data_values(task),
        "windows": {"length": task.input_seq_len, "stride": _overlapping(task)},
    }


def inspect_retrieval(model: Any, task: Any) -> None:
    """Whether the base fits the task, and the datastore that is named, if any, the model.

    Raises:
        ConfigurationError: see :func:`trainables.retrieval.base.inspect_base` and :func:`inspect_datastore`.
    """
    inspect_base(model, task)
    inspect_datastore(model, task)


def inspect_datastore(model: Any, task: Configuration) -> None:
    """Whether the folder that ``model.datastore`` names, if any, is the store that the model would make.

    Raises:
        ConfigurationError: it is no datastore, it was built by another base or from other data, or its files are not what its
            manifest says.
    """
    if model.datastore is None:
        return
    from trainables import registry
    from trainables.retrieval.base_fields import TASK

    folder = Path(model.datastore)
    try:
        found, store = stored_values(folder), Datastore.open(folder)
    except ValueError as error:
        raise ConfigurationError([("datastore", str(error))]) from error
    wanted = datastore_values(model, registry.tasks()[TASK], task)
    if problem := _difference(found, wanted) or _damage(store, task, base_width(model.base)):
        raise ConfigurationError([("datastore", f"{folder.name} {problem}")])


def _damage(store: Datastore, task: Any, width: int) -> str | None:
    """What its files hold against what its manifest says."""
    cure = "it was changed since it was made: take another, or set datastore: null"
    if store.keys.shape != (task.train_tokens, width):
        size, found = store.keys.shape
        return f"has {size:,} keys of {found:,} numbers, not {task.train_tokens:,} of {width:,}: {cure}"
    if store.values.min() < 0 or store.values.max() >= task.vocab_size:
        return f"holds values that are no tokens of this task, whose vocab_size is {task.vocab_size:,}: {cure}"
    return None


def _difference(found: Any, wanted: dict[str, Any]) -> str | None:
    if not isinstance(found, dict) or set(found) != set(wanted):
        return "is no datastore of this version: set datastore: null, and it will be made"
    causes = {
        "base": "was built by another base: give the base that its manifest.json shows, or set datastore: null",
        "key_layer": f"holds other keys: set key_layer: {found.get('key_layer')}, or datastore: null",
    }
    other = "was built from other data, or in other windows: give the task that its manifest.json shows, or set datastore: null"
    # The data first: with them a base differs too.
    names = sorted(wanted, key=lambda name: name not in ("task", "data"))
    return next((causes.get(name, other) for name in names if found[name] != wanted[name]), None)


def _index_stage(store: Stage, plan: IndexPlan) -> Stage:
    def make(folder: Path, context: StageContext) -> None:
        build_index(Datastore.open(context.folders["datastore"]), plan, folder / INDEX_FILE)

    return Stage("index", f"index {plan.kind}", {"datastore": dict(store.values), "index": plan.built_values()}, make)


def _neighbors_stage(
    model: Any, task_type: type[Task], task: Any, store: Stage, plan: IndexPlan, split: Split, excluded: Excluded
) -> Stage:
    own = split == "train" and excluded != "nothing"
    stride = _overlapping(task) if split == "train" else task.stride
    kept = kept_neighbors(model.n_neighbors, task.train_tokens - own)
    reading: dict[str, Any] = {"key_layer": model.key_layer, "length": task.input_seq_len, "stride": stride}

    def make(folder: Path, context: StageContext) -> None:
        base, data = _loaded_base(model, task, context), CorpusData(context.data)
        opened = Datastore.open(context.folders["datastore"], context.device)
        searcher = Searcher(opened, plan, context.device, context.folders.get("index"))
        hidden = excluded_entries(data, excluded) if own else None
        queries = base_queries(base, data, split, device=context.device, **reading)
        write_neighbors(
            folder,
            _beating(queries, context.beat),
            searcher,
            count=data.count(split),
            kept=kept,
            excluded=hidden,
            sampled=plan.is_approximate,
        )

    values = {
        "datastore": dict(store.values),
        "index": plan.values(),
        "n_neighbors": kept,
        "split": split,
        "excluded": excluded if own else "nothing",
        "windows": {"length": task.input_seq_len, "stride": stride},
    }
    return Stage(f"neighbors-{split}", f"neighbours of {split}", values, make)


def excluded_entries(data: CorpusData, excluded: Excluded) -> Tensor:
    """(n, 2) int64: of each position of the training text the first entry that it does not find, and the first behind them."""
    positions = torch.arange(data.count("train"))
    if excluded == "itself":
        return torch.stack((positions, positions + 1), 1)
    documents = torch.from_numpy(np.asarray(data.documents["train"][:-1]))
    first = torch.searchsorted(documents, documents)
    return torch.stack((first, torch.searchsorted(documents, documents, right=True)), 1)


def _loaded_base(model: Any, task: Any, context: StageContext) -> nn.Module:
    base = build_base(model.base, task).to(context.device)
    load_weights(base, context.folders["base"])
    return base.requires_grad_(False).eval()


def _overlapping(task: Any) -> int:
    return max(1, int(task.input_seq_len) // 2)


def _beating(items: Any, beat: Callable[[], None]) -> Any:
    for item in items:
        beat()
        yield item
