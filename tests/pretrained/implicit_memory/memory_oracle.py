"""The memory attention as it is described, in float64, with loops over rows and columns."""

import math
from typing import Any

import torch
from torch import Tensor

from trainables.pretrained.implicit_memory.model import ImplicitMemoryModel


class Oracle:
    """Reads one sequence with the weights of a module."""

    def __init__(self, module: ImplicitMemoryModel) -> None:
        self.weights = {name: value.double() for name, value in module.state_dict().items()}
        self.options, self.described = module.configuration, module.model.config

    def states(self, ids: Tensor) -> Tensor:
        """(T,) int64 to (T, D): normalised final states."""
        options, length, done = self.options, len(ids), 0
        self.short, self.long = self._initial(), [[] for _ in range(self.described.num_hidden_layers)]
        pieces = []
        while done < length:
            needed = options.input_block if done == 0 else options.memory_block
            end = min(done + needed, length)
            start = max(end - options.input_block - options.memory_block, 0)
            window = self._through(ids[start:end], updates=end - done == needed)
            pieces.append(window[done - start :])
            done = end
        return torch.cat(pieces)

    def _through(self, tokens: Tensor, updates: bool) -> Tensor:
        x = self.weights["model.model.embed_tokens.weight"][tokens]
        for layer in range(self.described.num_hidden_layers):
            x = x + self._attention(layer, self._norm(layer, "input_layernorm", x), updates)
            x = x + self._feed_forward(layer, "mlp", self._norm(layer, "post_attention_layernorm", x))
        return self._normalised(x, self.weights["model.model.norm.weight"])

    def _initial(self) -> list[Tensor]:
        rows = self.options.short_term_memory
        x = self.weights["model.model.embed_tokens.weight"][[self.described.eos_token_id] * rows]
        memories = []
        for layer in range(self.described.num_hidden_layers):
            memories.append(self._norm(layer, "input_layernorm", x))
            q, k, v = (self._linear(layer, f"self_attn.{name}_proj", memories[-1]) for name in "qkv")
            q, k = self._rotated(q, 0), self._rotated(k, 0)
            y = self._mix(q, k, v, [set(range(rows)) for _ in range(rows)])
            x = x + self._linear(layer, "self_attn.o_proj", y)
            x = x + self._feed_forward(layer, "mlp", self._norm(layer, "post_attention_layernorm", x))
        return memories

    def _attention(self, layer: int, x: Tensor, updates: bool) -> Tensor:
        long, short = self.long[layer], self.short[layer]
        stored, rows, length = len(long) * len(short), len(short), len(x)
        whole = torch.cat([*long, short, x])
        q, k, v = (self._linear(layer, f"self_attn.{name}_proj", whole) for name in "qkv")
        first = stored + rows
        q = torch.cat([q[:first], self._rotated(q[first:], rows)])
        k = torch.cat([k[:first], self._rotated(k[first:], rows)])
        y = self._mix(q, k, v, [self._columns(row, stored, rows, length) for row in range(len(whole))])
        if updates:
            long.append(short)
            del long[: max(0, len(long) - self.options.ltm_capacity)]
            self.short[layer] = self._written(layer, short, y[stored:first])
        return self._linear(layer, "self_attn.o_proj", y[first:])

    def _columns(self, row: int, stored: int, rows: int, length: int) -> set[int]:
        options, first = self.options, stored + rows
        newest = max(0, stored - options.visible_snapshots * rows)
        if row < stored:
            return set(range(row + 1))
        if row < first:
            return {*range(newest, first), *range(first, first + min(options.memory_block, length))}
        seen = {"all": range(stored), "none": range(0), "last_n": range(newest, stored)}[options.ltm_visible_to_input]
        return {*seen, *range(stored, first), *range(max(first, row - options.input_block + 1), row + 1)}

    def _written(self, layer: int, old: Tensor, y: Tensor) -> Tensor:
        if not self.options.dual_ffn:
            return y
        new = old + self._linear(layer, "self_attn.o_proj", y)
        return new + self._feed_forward(layer, "memory_mlp", self._norm(layer, "memory_norm", new))

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, columns: list[set[int]]) -> Tensor:
        heads, key_heads = self.described.num_attention_heads, self.described.num_key_value_heads
        width = q.shape[1] // heads
        mixed = torch.zeros_like(q)
        for row, seen in enumerate(columns):
            chosen = sorted(seen)
            for head in range(heads):
                mine, theirs = slice(head * width, (head + 1) * width), head // (heads // key_heads)
                shared = slice(theirs * width, (theirs + 1) * width)
                scores = torch.stack([q[row, mine] @ k[column, shared] for column in chosen]) / math.sqrt(width)
                for share, column in zip(scores.softmax(0), chosen, strict=True):
                    mixed[row, mine] += share * v[column, shared]
        return mixed

    def _rotated(self, x: Tensor, first: int) -> Tensor:
        """(T, H * d) with pairs (i, i + d/2) of each head turned by (first + t) * theta^(-2i/d)."""
        width = self.described.hidden_size // self.described.num_attention_heads
        turned, half = x.clone(), width // 2
        for place in range(len(x)):
            for one in range(x.shape[1]):
                head, i = divmod(one, width)
                if i < half:
                    angle = (first + place) * self.described.rope_parameters["rope_theta"] ** (-2 * i / width)
                    other = head * width + i + half
                    turned[place, one] = x[place, one] * math.cos(angle) - x[place, other] * math.sin(angle)
                    turned[place, other] = x[place, other] * math.cos(angle) + x[place, one] * math.sin(angle)
        return turned

    def _feed_forward(self, layer: int, name: str, x: Tensor) -> Tensor:
        gate, up = (self._linear(layer, f"{name}.{part}_proj", x) for part in ("gate", "up"))
        return self._linear(layer, f"{name}.down_proj", gate * torch.sigmoid(gate) * up)

    def _linear(self, layer: int, name: str, x: Tensor) -> Tensor:
        bias: Any = self.weights.get(f"model.model.layers.{layer}.{name}.bias", 0.0)
        return x @ self.weights[f"model.model.layers.{layer}.{name}.weight"].mT + bias

    def _norm(self, layer: int, name: str, x: Tensor) -> Tensor:
        return self._normalised(x, self.weights[f"model.model.layers.{layer}.{name}.weight"])

    def _normalised(self, x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + self.described.rms_norm_eps).sqrt() * weight
