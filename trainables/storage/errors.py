"""What goes wrong with a storage, and what to do about it."""

from __future__ import annotations

import re

_CURES = (
    (r"no_such_bucket|bucket does not exist|nosuchbucket", "there is no such bucket: create it, or mend the URI"),
    (
        r"access_denied|permission|forbidden|status 403|http 403",
        "permission was denied: whoever runs this needs to list, read, write and delete there, on every node",
    ),
    (
        r"credential|invalid_access_key|signature|unrecognized_client|invalid_client_token|oauth2|access token|expired",
        "the credentials are missing or wrong: set them in the environment of every node (such as AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS), or give the nodes a role",
    ),
    (
        r"network_connection|resolve host|connection|timed? ?out|unreachable|curlcode",
        "it cannot be reached: look at the network, the region and the endpoint",
    ),
    (r"no space|quota", "it is full: make room there"),
)
_LONGEST = 400


class StorageError(OSError):
    """A file of a storage cannot be read or written; the message says where, why, and what to do."""


def explained(where: str, error: Exception) -> StorageError:
    """``error`` of a file system as one for people; its text, which may quote a request, is kept short and on one line."""
    # Imported late: it reads the whole environment.
    from trainables.redaction import redact

    said = redact(" ".join(str(error).split()))[:_LONGEST]
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, said, re.IGNORECASE)), None)
    return StorageError(f"{where}: {cure} ({said})" if cure else f"{where}: {said}")
