"""Parts of the task ``language_modeling``: corpora, tokenisers, splits, and the tokens that are made of them."""
