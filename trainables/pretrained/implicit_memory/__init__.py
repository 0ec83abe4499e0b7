"""An implicit memory inside a rotary language model: hidden states of what has left its window, read by its own attention."""
