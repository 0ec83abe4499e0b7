"""Files of other libraries that the documents name, as small as can be."""

from __future__ import annotations

from pathlib import Path


def write_tokenizer(path: Path, size: int) -> None:
    """A tokenizer of ``size`` words, w0, w1 and so on, and the token that begins documents."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"w{number}": number for number in range(size - 2)}
    tokenizer = Tokenizer(models.WordLevel({**words, "<unk>": size - 2, "<|endoftext|>": size - 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def write_model(folder: Path, size: int) -> None:
    """A model of the type gpt2 with random weights, and a tokenizer of as many tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    ends = {"bos_token_id": size - 1, "eos_token_id": size - 1}
    GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=8, n_layer=1, n_head=1, **ends)).save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json", size)
