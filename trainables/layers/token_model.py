"""The skeleton of a model over tokens: embedding, blocks, final norm, output head; its configuration and its counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from trainables.configuration import Configuration, Rule, hyperparameter
from trainables.counts import ParameterCounts
from trainables.layers.activations import Activation
from trainables.layers.feed_forward import FeedForward, feed_forward_parameters
from trainables.layers.residual import Residual
from trainables.layers.rms_norm import RMSNorm
from trainables.sequence_length import sequence_length


@dataclass(frozen=True, kw_only=True)
class TokenModelConfiguration(Configuration):
    """What every model over tokens has."""

    dim: int = hyperparameter(64, "width of the residual stream", minimum=1)
    n_layers: int = hyperparameter(4, "number of blocks", minimum=1)
    use_att: bool = hyperparameter(True, "give each block its mixing layer")
    use_ffn: bool = hyperparameter(False, "give each block a feed-forward layer")
    ffn_expand_factor: int = hyperparameter(4, "inner width of the feed-forward layer in multiples of dim", minimum=1)
    ffn_act: Activation = hyperparameter("silu", "activation of the feed-forward layer")
    residual_mul: bool = hyperparameter(False, "residual branches multiply, x * (1 + f(norm(x))), instead of adding")
    init_std: float = hyperparameter(0.02, "standard deviation of the initial weights of matrices and embedding", above=0.0)

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(lambda c: c.use_att | c.use_ffn, "a block needs a layer: set use_att or use_ffn to true"),
    )


class Block(nn.Sequential):
    """The residual branches of one layer: the mixing layer, if any, then the feed-forward layer, if any."""

    def __init__(self, model: TokenModelConfiguration, mixer: nn.Module | None) -> None:
        super().__init__()
        if mixer is not None:
            self.add_module("att", Residual(model.dim, mixer, multiply=model.residual_mul))
        if model.use_ffn:
            feed_forward = FeedForward(model.dim, model.ffn_expand_factor, model.ffn_act)
            self.add_module("ffn", Residual(model.dim, feed_forward, multiply=model.residual_mul))


class TokenModel(nn.Module):
    """Embedding, blocks, final RMSNorm and an untied head, all without biases; weights are drawn from torch's global generator.

    ``make_mixer`` builds the mixing layer of one block, a module from (B, T, dim) to (B, T, dim); it is asked once per block
    and not at all when ``use_att`` is false.
    """

    def __init__(self, model: TokenModelConfiguration, task: Any, make_mixer: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(task.vocab_size, model.dim)
        self.blocks = nn.ModuleList(Block(model, make_mixer() if model.use_att else None) for _ in range(model.n_layers))
        self.final_norm = RMSNorm(model.dim)
        self.output_head = nn.Linear(model.dim, task.vocab_size, bias=False)
        initialise(self, model.init_std)

    def hidden_states(self, ids: Tensor) -> Tensor:
        """Tokens (B, T) int64 to the states that the output head reads (B, T, dim)."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.final_norm(x)
        return states

    def forward(self, ids: Tensor) -> Tensor:
        """Tokens (B, T) int64 to logits (B, T, V)."""
        logits: Tensor = self.output_head(self.hidden_states(ids))
        return logits


def initialise(module: nn.Module, std: float) -> None:
    """Draws every Linear and Embedding weight inside ``module`` from Normal(0, std); norms and convolutions keep theirs."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.normal_(part.weight, std=std)


def count_token_model(model: Any, task: Any, mixer: Any) -> ParameterCounts:
    """Counts of a :class:`TokenModel` whose mixing layer has ``mixer`` parameters; fields may be NumPy arrays."""
    feed_forward = model.dim + feed_forward_parameters(model.dim, model.ffn_expand_factor)
    block = model.n_layers * (model.use_att * (model.dim + mixer) + model.use_ffn * feed_forward)
    table = task.vocab_size * model.dim
    return ParameterCounts(block=block, embedding=table, other=model.dim + table)


def token_model_activations(model: Any, task: Any, mixer: Any) -> Any:
    """Elements kept for the backward pass of one example of ``task.input_seq_len`` tokens; fields may be NumPy arrays.

    ``mixer`` is what the mixing layer keeps per token, beyond its normalised input. Kept besides it: of each norm the input, the
    normalised values and the output; both sides of the activation of a feed-forward layer; the factor of a multiplicative
    branch; the log-probabilities at the positions that have a label (``num_kv_pairs`` of them where the task has that field).
    """
    norm = 3 * model.dim + 1
    branch = norm + model.residual_mul * model.dim
    feed_forward = 2 * model.ffn_expand_factor * model.dim
    per_block = model.use_att * (branch + mixer) + model.use_ffn * (branch + feed_forward)
    labelled = getattr(task, "num_kv_pairs", sequence_length(task))
    return sequence_length(task) * (model.n_layers * per_block + norm) + labelled * task.vocab_size
