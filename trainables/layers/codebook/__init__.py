"""Memories that are codebooks: each vector of a series reads from rows that are the same for every input.

After the vector-quantised models of donglinkang2021/simple-sequence-prediction (MIT). Three facts about them, which hold here
unless an option says otherwise: the quantiser is soft, a softmax over the rows and no choice of one; the codebook is fixed, a
buffer drawn once from N(0, 1) and never trained; and a model is pointwise in time, what it returns at a position depends on the
input at that position alone, so it has no context and the best it can do is to repeat the last value.
"""
