"""Random valid configurations of any architecture, drawn from its own typed fields."""

import typing
from types import SimpleNamespace

from hypothesis import assume
from hypothesis import strategies as st

from trainables.architecture import Architecture
from trainables.configuration import Configuration, ConfigurationError, Hyperparameter
from trainables.registry import architectures

TOKEN_ARCHITECTURES = sorted(name for name, found in architectures().items() if found.kind == "tokens")
MQAR_FAMILY = ("gpt", "unified_kv", "delta_net")


def token_task(vocab_size: int = 23, input_seq_len: int = 12) -> SimpleNamespace:
    return SimpleNamespace(vocab_size=vocab_size, input_seq_len=input_seq_len)


def _values(field: Hyperparameter) -> st.SearchStrategy[object]:
    if typing.get_origin(field.type) is typing.Literal:
        return st.sampled_from(typing.get_args(field.type))
    if field.type is bool:
        return st.booleans()
    if field.type is int:
        lowest = int(field.minimum if field.minimum is not None else 1)
        return st.integers(lowest, int(min(lowest + 8, field.maximum if field.maximum is not None else lowest + 8)))
    return st.just(field.default)


@st.composite
def configurations(draw: st.DrawFn, architecture: Architecture) -> Configuration:
    fields = architecture.configuration.hyperparameters()
    values = {name: draw(_values(field), label=name) for name, field in fields.items()}
    try:
        return architecture.configuration.from_values(values)
    except ConfigurationError:
        assume(False)
        raise
