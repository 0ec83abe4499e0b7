"""The parts of the task ``segment_lm``: flat token files, crops, losses by segment, questions."""
