"""Random valid configurations of any architecture, drawn from its own typed fields."""

import functools
import typing
from types import SimpleNamespace

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from trainables.architecture import Architecture
from trainables.configuration import Configuration, ConfigurationError, Hyperparameter
from trainables.registry import architectures

TOKEN_ARCHITECTURES = sorted(name for name, found in architectures().items() if found.kind == "tokens")
SERIES_ARCHITECTURES = sorted(name for name, found in architectures().items() if found.kind == "series")
MQAR_FAMILY = ("gpt", "unified_kv", "delta_net")

over_configurations = functools.partial(settings, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
"""How :func:`configurations` are drawn: where fields must agree, as heads with a width, often only one in four is valid."""

_SIZES = {"vocab_size": 64, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
BACKBONES = [
    {"config": {"model_type": "llama", **_SIZES}},
    {"config": {"model_type": "qwen2", **_SIZES, "num_key_value_heads": 1, "tie_word_embeddings": True}},
]


def recall_task(vocab_size: int = 23, input_seq_len: int = 12) -> SimpleNamespace:
    """With the fields of single windows alone."""
    return SimpleNamespace(vocab_size=vocab_size, input_seq_len=input_seq_len)


def token_task(vocab_size: int = 23, input_seq_len: int = 12) -> SimpleNamespace:
    """With the fields of text, on which every token architecture runs."""
    return SimpleNamespace(vocab_size=vocab_size, input_seq_len=input_seq_len, train_tokens=50, segments=2)


def series_task(channels: int = 1, time_steps: int = 12) -> SimpleNamespace:
    return SimpleNamespace(channels=channels, time_steps=time_steps)


def random_tasks(architecture: Architecture) -> st.SearchStrategy[SimpleNamespace]:
    """Small tasks of the kind that an architecture takes."""
    if architecture.kind == "series":
        return st.builds(series_task, channels=st.integers(1, 3))
    return st.builds(token_task, vocab_size=st.integers(2, 40))


def shapes() -> st.SearchStrategy[list[int]]:
    """Of fields that are lists the length, and of the lists inside them, each its own."""
    return st.lists(st.integers(1, 3), min_size=1, max_size=3)


def _values(field: Hyperparameter, shape: list[int]) -> st.SearchStrategy[object]:
    sizes = st.integers(1, 9)
    if field.name == "backbone":
        return st.sampled_from(BACKBONES)
    if field.type == list[int]:
        return st.lists(sizes, min_size=len(shape), max_size=len(shape))
    if field.type == list[int] | None:  # numbers of blocks, each once
        return st.permutations(range(3)).map(lambda numbers: numbers[: len(shape)])
    if field.type == list[list[int]]:
        return st.tuples(*(st.lists(sizes, min_size=length, max_size=length) for length in shape)).map(list)
    if typing.get_origin(field.type) is typing.Literal:
        return st.sampled_from(typing.get_args(field.type))
    if field.type is bool:
        return st.booleans()
    if field.type is int:
        lowest = int(field.minimum if field.minimum is not None else 1)
        largest = 12 if field.name == "dim" else lowest + 8
        return st.integers(lowest, int(min(largest, field.maximum if field.maximum is not None else largest)))
    return st.just(field.default)


@st.composite
def configurations(draw: st.DrawFn, architecture: Architecture, shape: list[int] | None = None) -> Configuration:
    shape = shape or draw(shapes())
    fields = architecture.configuration.hyperparameters()
    values = {name: draw(_values(field, shape), label=name) for name, field in fields.items()}
    try:
        return architecture.configuration.from_values(values)
    except ConfigurationError:
        assume(False)
        raise
