"""Hugging Face causal language models from local folders, as base models: nothing is downloaded, no code of a folder is run."""
