"""Whether this machine can make hosts of namespaces, asked once."""

from __future__ import annotations

import pytest
from hosts import why_not


@pytest.fixture(scope="session")
def namespaces() -> None:
    """For every test that makes hosts: skips it where that cannot be done, with the reason."""
    if reason := why_not():
        pytest.skip(reason)
