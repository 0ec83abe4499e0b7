"""One short name for equal values, on any machine and in any process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(values: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of SHA-256 over the canonical JSON of ``values``.

    Keys are sorted and floats written with ``repr``, so the order of keys does not matter and no digit is lost.

    Raises:
        TypeError: a value is no plain JSON value.
    """
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
