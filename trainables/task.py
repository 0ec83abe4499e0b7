"""What a task is to the rest of the product: its configuration, prepared data, batches, a loss and an evaluation."""

from __future__ import annotations
