"""Files of other libraries that the documents name, as small as can be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def write_tokenizer(path: Path, size: int) -> None:
    """A tokenizer of ``size`` words, w0, w1 and so on, and the token that begins documents."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"w{number}": number for number in range(size - 2)}
    tokenizer = Tokenizer(models.WordLevel({**words, "<unk>": size - 2, "<|endoftext|>": size - 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def write_model(folder: Path, model_type: str, size: int) -> None:
    """A model with random weights, and a tokenizer of as many tokens."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"vocab_size": size, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    own = {} if model_type == "gpt2" else {"num_key_value_heads": 1, "intermediate_size": 8}
    ends = {"bos_token_id": size - 1, "eos_token_id": size - 1}
    AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes, **own, **ends)).save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json", size)


def write_token_ids(folder: Path, count: int) -> None:
    """Flat files of ``count`` ids each, four bytes an id."""
    folder.mkdir(parents=True)
    for name in ("train.bin", "val.bin"):
        (np.arange(count) % 1000).astype("<u4").tofile(folder / name)


def write_classification_data(folder: Path) -> None:
    """Two rows to train on and two to evaluate, of three of the tasks."""
    rows = {
        "boolq": {"question": "is it", "passage": "it is", "label": 1},
        "copa": {"premise": "it fell", "choice1": "a", "choice2": "b", "question": "cause", "label": 0},
        "cb": {"premise": "it is so", "hypothesis": "it is", "label": "entailment"},
    }
    for task, row in rows.items():
        (folder / task).mkdir(parents=True)
        for part in ("train", "validation"):
            (folder / task / f"{part}.jsonl").write_text(2 * f"{json.dumps(row)}\n")
