"""From the configuration to the tokens of all splits, and to the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainables.configuration import ConfigurationError
from trainables.language import SPLITS, Split
from trainables.tasks._language.configuration import CorpusConfiguration
from trainables.tasks._language.corpus_data import META, write_split
from trainables.tasks._language.facts import facts_corpus
from trainables.tasks._language.hub_dataset import is_saved_dataset, read_saved_dataset
from trainables.tasks._language.splitting import SplitTokens, split_corpus
from trainables.tasks._language.standard_library import StandardLibrary
from trainables.tasks._language.text_folder import read_text_file, read_text_folder
from trainables.tasks._language.tokenizers import Tokenizer, tokenizer_of


def corpus_tokens(configuration: CorpusConfiguration) -> dict[Split, SplitTokens]:
    """The tokens of each split that is wanted, of the exact sizes that are asked for.

    Raises:
        ConfigurationError: the corpus or the tokeniser cannot be read or does not fit, with the name of the field.
    """
    tokenizer = tokenizer_of(configuration)
    return split_corpus(_documents(configuration, tokenizer), configuration.targets(), tokenizer, configuration.seed)


def write_corpus(configuration: CorpusConfiguration, folder: Path) -> None:
    """Writes ``{split}_tokens.npy`` and ``{split}_documents.npy``, int32 (n + 1,), and ``meta.json``; raises as above."""
    splits = corpus_tokens(configuration)
    for split, made in splits.items():
        write_split(folder, split, made.tokens, made.documents)
    meta = {
        "vocab_size": configuration.vocab_size,
        "bytes": {split: made.bytes for split, made in splits.items()},
        "words": {split: made.words for split, made in splits.items()},
        "documents": {split: int(made.documents[-1]) + 1 for split, made in splits.items()},
    }
    (folder / META).write_text(json.dumps(meta, indent=1) + "\n")


def told_pages(configuration: CorpusConfiguration, tokenizer: Tokenizer) -> list[str]:
    """The pages of the corpus facts that are trained on; every fact of the other splits is told there."""
    trained: dict[Split, int] = {**dict.fromkeys(SPLITS, 0), "train": configuration.targets()["train"]}
    return _facts(configuration, tokenizer, trained)["train"]


def _facts(configuration: CorpusConfiguration, tokenizer: Tokenizer, targets: Mapping[Split, int]) -> dict[str, list[str]]:
    return facts_corpus(targets, configuration.seed, lambda text: 1 + len(tokenizer.encode([text])[0]))


def _documents(configuration: CorpusConfiguration, tokenizer: Tokenizer) -> Mapping[str, Sequence[str]]:
    if configuration.corpus == "facts":
        return _facts(configuration, tokenizer, configuration.targets())
    if configuration.corpus == "stdlib":
        return {"train": StandardLibrary()}
    return _documents_at(Path(configuration.corpus), configuration.text_column)


def _documents_at(path: Path, column: str) -> Mapping[str, Sequence[str]]:
    if path.is_file():
        return read_text_file(path)
    if not path.is_dir():
        raise ConfigurationError([("corpus", f"there is no file or folder {path}: name one, or facts or stdlib")])
    return read_saved_dataset(path, column) if is_saved_dataset(path) else read_text_folder(path)
