"""Codebook memories once more, in NumPy and float64, from their published formulas alone; it shares no code with the modules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray
_LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class State:
    """What a model has stored, by what it is."""

    encoder: tuple[Array, Array]
    """(D, C) weights and (D,) biases; of the decoder (C, D) and (C,)."""
    decoder: tuple[Array, Array]
    levels: list[list[Array]]
    """Of each level, nearest the input first, the (V_g, D/G) rows of each group."""
    first_norm: tuple[Array, Array] | None = None
    """Gains and shifts, which the groups share; of the other norms, one a level, None for a norm without."""
    level_norms: list[tuple[Array, Array] | None] = field(default_factory=list)
    positions: Array | None = None


def predictions(model: Any, state: State, windows: Array) -> Array:
    """(B, T, C) windows to (B, T, C): encode, add positions, normalise, read level by level, decode."""
    h = windows @ state.encoder[0].T + state.encoder[1]
    h = h + added_positions(model, state, windows.shape[1])
    if state.first_norm is not None:
        h = layer_norm(h, len(state.levels[0]), state.first_norm)
    if model.pos == "rope":
        h = turned(h)
    h = ascending(model, state, h) if getattr(model, "order", "dec") == "inc" else descending(model, state, h)
    return h @ state.decoder[0].T + state.decoder[1]


def descending(model: Any, state: State, h: Array) -> Array:
    """h_i = R(N(h_(i-1)); C_i); the input reads the first level."""
    for level, codebooks in enumerate(state.levels):
        query = h if level == 0 else between(model, state, level, h, len(codebooks))
        h = with_residual(model, h, read(model, query, codebooks))
    return h


def ascending(model: Any, state: State, h: Array) -> Array:
    """C'_i = R(N(C_i); C'_(i+1)) from the last level on, then R(h; C'_1)."""
    rows = state.levels[-1][0]
    for level in range(len(state.levels) - 2, -1, -1):
        (codebook,) = state.levels[level]
        query = between(model, state, level + 1, codebook, 1)
        rows = with_residual(model, codebook, read(model, query, [rows]))
    return with_residual(model, h, read(model, h, [rows]))


def between(model: Any, state: State, level: int, x: Array, groups: int) -> Array:
    """The norm before ``level``, counted from 0, is read: with gains, without, or none at all."""
    return x if model.level_norm == "none" else layer_norm(x, groups, state.level_norms[level - 1])


def with_residual(model: Any, reader: Array, what_was_read: Array) -> Array:
    return reader + what_was_read if getattr(model, "residual", "none") == "add" else what_was_read


def read(model: Any, query: Array, codebooks: list[Array]) -> Array:
    """Each group reads its own codebook with its own part of the query."""
    how: Callable[[Any, Array, Array], Array] = soft if model.vq_mode == "soft" else nearest
    width = query.shape[-1] // len(codebooks)
    parts = [query[..., group * width : (group + 1) * width] for group in range(len(codebooks))]
    return np.concatenate([how(model, part, rows) for part, rows in zip(parts, codebooks, strict=True)], axis=-1)


def soft(model: Any, part: Array, rows: Array) -> Array:
    """softmax(h C^T / sqrt(D)) C, the root being of the model's width or of the group's."""
    root = np.sqrt(rows.shape[1] if getattr(model, "scale_by", "model") == "head" else model.dim)
    products = np.einsum("...d,vd->...v", part, rows) / root
    weights = np.exp(products - products.max(axis=-1, keepdims=True))
    return np.einsum("...v,vd->...d", weights / weights.sum(axis=-1, keepdims=True), rows)


def nearest(model: Any, part: Array, rows: Array) -> Array:
    distances = np.square(part[..., None, :] - rows).sum(axis=-1)
    return rows[distances.argmin(axis=-1)]


def layer_norm(x: Array, groups: int, gains_and_shifts: tuple[Array, Array] | None) -> Array:
    """Of each group on its own, with the same gains and shifts for all."""
    grouped = x.reshape(*x.shape[:-1], groups, -1)
    centred = grouped - grouped.mean(axis=-1, keepdims=True)
    normalised = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + _LAYER_NORM_EPSILON)
    gains, shifts = gains_and_shifts or (1.0, 0.0)
    return (normalised * gains + shifts).reshape(x.shape)


def added_positions(model: Any, state: State, length: int) -> Array:
    """(length, D): first rows of the table, or sin and cos of t / 10000^(2i/D) in turn, of root mean square position_std."""
    if model.pos == "rand":
        assert state.positions is not None
        return state.positions[:length]
    table = np.zeros((length, model.dim))
    if model.pos == "sin":
        for t in range(length):
            for pair in range(model.dim // 2):
                angle = t / 10000 ** (2 * pair / model.dim)
                table[t, 2 * pair : 2 * pair + 2] = np.sin(angle), np.cos(angle)
        table *= model.position_std / np.sqrt(np.square(table).mean())
    return table


def turned(h: Array) -> Array:
    """Coordinates i and i + D/2 are a complex number, which is turned by t / 10000^(2i/D)."""
    half = h.shape[-1] // 2
    frequencies = 10000.0 ** (-np.arange(half) / half)
    numbers = (h[..., :half] + 1j * h[..., half:]) * np.exp(1j * np.arange(h.shape[1])[:, None] * frequencies)
    return np.concatenate((numbers.real, numbers.imag), axis=-1)


def state_of(model: Any, stored: Mapping[str, Any]) -> State:
    """From the ``state_dict`` of a module on the CPU."""
    arrays = {name: value.detach().double().numpy() for name, value in stored.items()}

    def layer(name: str) -> tuple[Array, Array] | None:
        return (arrays[f"{name}.weight"], arrays[f"{name}.bias"]) if f"{name}.weight" in arrays else None

    encoder, decoder = layer("blocks.encoder"), layer("output_head")
    assert encoder is not None and decoder is not None
    levels: list[list[Array]] = []
    while found := _codebooks(arrays, f"blocks.reads.levels.{len(levels)}."):
        levels.append(found)
    norms = [layer(f"blocks.reads.norms.{index}.norm") for index in range(len(levels) - 1)]
    return State(encoder, decoder, levels, layer("blocks.norm.norm"), norms, arrays.get("blocks.position.table"))


def _codebooks(arrays: Mapping[str, Array], level: str) -> list[Array]:
    """In the order of the groups."""
    soft_rows = [value for name, value in arrays.items() if name.startswith(f"{level}codebook_")]
    hard_rows = [value[0] for name, value in arrays.items() if name.startswith(level) and name.endswith("._codebook.embed")]
    return soft_rows or hard_rows
