"""What a pretrained model holds besides its weights, in closed form; an estimate, since each model has its own layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainables.pretrained.sizes import ModelSizes


def activation_elements(sizes: ModelSizes, length: Any) -> Any:
    """Elements kept for the backward pass of one sequence of ``length`` tokens (a number or a NumPy array), with a fused
    attention.

    Of a block: of both norms the input, the output and the scale (of an RMS norm also what is normalised, of a layer norm also
    the mean), queries, keys and values as attention reads them, what the heads mixed with its normaliser, and what is inside the
    feed-forward layer (of GPT-2's activation three intermediate values too). Besides: the final norm, the angles of a rotation,
    the logits with their normaliser and, as large, their gradient. Masks of dropout are left out. Models with a gate in their
    feed-forward layer are taken for those with RMS norms and rotations, as Llama, the others for those with neither, as GPT-2.
    """
    norm = 3 * sizes.width + 1 if sizes.gated else 2 * sizes.width + 2
    attention = 2 * (sizes.heads + sizes.key_heads) * sizes.head_width + sizes.heads
    feed_forward = (4 if sizes.gated else 5) * sizes.inner
    block = 2 * norm + attention + feed_forward
    angles = 2 * sizes.head_width if sizes.gated else 0
    return length * (sizes.layers * block + norm + angles + 2 * sizes.vocabulary + 1)


def inference_elements(sizes: ModelSizes, length: Any, remembered: Any = 0) -> Any:
    """The most elements that are alive at once in a forward pass of one sequence of ``length`` tokens without gradients.

    That is the larger of two moments: a layer at work (the residual stream and its norm, and either queries, keys and values on
    both sides of the rotation with what the heads mixed, or what is inside the feed-forward layer), and the logits beside the
    states that they are made of. ``remembered`` is the number of states besides that a layer reads, and makes keys and values of.
    Both may be NumPy arrays.
    """
    keys = 2 * sizes.key_heads * sizes.head_width
    queries = sizes.heads * sizes.head_width
    attention = length * (2 * (queries + keys) + queries) + remembered * (2 * keys + sizes.width)
    feed_forward = length * (3 if sizes.gated else 2) * sizes.inner
    layer = 2 * length * sizes.width + np.maximum(attention, feed_forward)
    return np.maximum(layer, length * (sizes.width + sizes.vocabulary))


def cache_elements(sizes: ModelSizes, length: Any) -> Any:
    """Keys and values of ``length`` tokens in every layer."""
    return 2 * sizes.layers * sizes.key_heads * sizes.head_width * length
