"""Memories of the batch (Zhong et al. 2022, arXiv 2205.12674): masses, what may read what, the datastore, batches by BM25."""
