"""Small models with an implicit memory, and what they read."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from trainables.language import TokenBatch
from trainables.pretrained.implicit_memory.configuration import MemoGptConfiguration
from trainables.pretrained.implicit_memory.model import ImplicitMemoryModel
from trainables.registry import architectures

FOUND = architectures()["memo_gpt"]
TYPES = ("qwen2", "llama")
VOCABULARY = 53
SIZES: dict[str, Any] = {
    **{"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1},
}
SMALL: dict[str, Any] = {"short_term_memory": 3, "input_block": 8, "memory_block": 4, "visible_snapshots": 1}


def task(length: int = 40) -> SimpleNamespace:
    return SimpleNamespace(vocab_size=VOCABULARY, input_seq_len=length)


def backbone(model_type: str, **sizes: Any) -> dict[str, Any]:
    return {"config": {"model_type": model_type, **SIZES, **sizes}}


def configuration(model_type: str = "qwen2", **values: Any) -> MemoGptConfiguration:
    """The small one, with other fields or another ``backbone``."""
    found = FOUND.configuration.from_values({"backbone": backbone(model_type), **SMALL, **values})
    assert isinstance(found, MemoGptConfiguration)
    return found


def build(model_type: str = "qwen2", **values: Any) -> ImplicitMemoryModel:
    """In evaluation mode; weights so large that every part counts, and the same for all options."""
    dual = values.pop("dual_ffn", False)
    torch.manual_seed(0)
    module = FOUND.build(configuration(model_type, **values), task())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    if dual:
        state = module.state_dict()
        module = FOUND.build(configuration(model_type, **values, dual_ffn=True), task())
        copies = {name: state[original_of(name)] for name in module.state_dict()}
        module.load_state_dict(copies)
    assert isinstance(module, ImplicitMemoryModel)
    return module.eval()


def original_of(name: str) -> str:
    """The name of the tensor of which that of this name is a copy, or itself."""
    return name.replace("memory_mlp", "mlp").replace("memory_norm", "post_attention_layernorm")


def ids(batch: int = 3, length: int = 40, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def text(batch: int = 3, length: int = 40, seed: int = 1) -> TokenBatch:
    tokens = ids(batch, length + 1, seed)
    zeros = torch.zeros(batch, length, dtype=torch.int64)
    scored = torch.ones(batch, length, dtype=torch.bool)
    return TokenBatch(tokens[:, :-1], tokens[:, 1:], zeros, torch.arange(length).expand(batch, -1), scored, "val")


def row_of(batch: TokenBatch, row: int) -> TokenBatch:
    parts = (batch.ids, batch.targets, batch.documents, batch.positions, batch.scored)
    return TokenBatch(*(part[row : row + 1] for part in parts), batch.split)
