"""What a pretrained model keeps for its backward pass, in closed form; an estimate, since each model has its own layers."""

from __future__ import annotations

from typing import Any

from trainables.pretrained.sizes import ModelSizes


def activation_elements(sizes: ModelSizes, length: Any) -> Any:
    """Elements kept of one sequence of ``length`` tokens, which may be a NumPy array, with a fused attention.

    Of a block: both norms (input and output), queries, keys and values before and behind the rotation, the mixture of the heads,
    and the inputs of each matrix and of the activation of the feed-forward layer. Besides: the final norm, the logits, and their
    logarithm.
    """
    attention = 2 * (sizes.heads + 2 * sizes.key_heads) * sizes.head_width + sizes.heads * sizes.head_width
    feed_forward = (4 if sizes.gated else 2) * sizes.inner
    block = 4 * sizes.width + attention + feed_forward
    return length * (sizes.layers * block + 2 * sizes.width + 2 * sizes.vocabulary)
