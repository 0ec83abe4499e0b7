"""Parts of the task ``multitask_classification``: datasets, prompts, packing, ranking, generation and scores."""
