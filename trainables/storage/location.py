"""Where a storage is: a URI that every node can open, and that names no secret."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from trainables.redaction import SECRET_NAME
from trainables.storage.errors import StorageError

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")
_SECRET_OPTIONS = re.compile(r"key|signature|sig$|sas", re.IGNORECASE)


@dataclass(frozen=True)
class Location:
    """A folder by its URI; ``options`` are the URI's query (``endpoint_override``, ``region``, …), which its subfolders share."""

    base: str
    """Scheme, host and path, without a slash at its end."""
    options: str = ""

    @property
    def uri(self) -> str:
        return f"{self.base}?{self.options}" if self.options else self.base

    def __str__(self) -> str:
        return self.base

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.base.rpartition("/")[2]

    @property
    def parent(self) -> Location:
        return Location(self.base.rpartition("/")[0], self.options)

    def child(self, name: str) -> Location:
        return Location(f"{self.base}/{name}", self.options)


def is_uri(text: str) -> bool:
    """Whether a text is a URI and no path; a wrong scheme counts as one, so that it is told instead of becoming a folder."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None or (text.partition(":")[0] in SCHEMES and ":/" in text)


def parse_location(text: str) -> Location:
    """The location that a URI names.

    Raises:
        StorageError: the scheme is unknown, something is missing, or a secret stands in it: command lines are seen by every user
            of a machine, and the URI goes to every node.
    """
    parts = urllib.parse.urlsplit(text)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        raise StorageError(f"--storage: `{scheme}://` is no storage that is known here; known are {known} and a folder")
    if ("@" in parts.netloc and not scheme.startswith("abfs")) or (":" in parts.netloc.partition("@")[0] and "@" in parts.netloc):
        raise StorageError(_SECRETS.format(f"{scheme}://***@{parts.netloc.rpartition('@')[2]}{parts.path}"))
    for name, _ in urllib.parse.parse_qsl(parts.query, keep_blank_values=True):
        if SECRET_NAME.search(name) or _SECRET_OPTIONS.search(name):
            raise StorageError(_SECRETS.format(f"{scheme}://{parts.netloc}{parts.path}?{name}=***"))
    path = re.sub(r"/+", "/", parts.path).rstrip("/")
    if scheme != "file" and "://" not in text:
        raise StorageError(f"--storage: `{text}` has one slash too few: write {scheme}:/{text.partition(':')[2]}")
    if scheme == "file" and (parts.netloc or not path):
        raise StorageError(f"--storage: `{text}` names no folder of this machine: write file:///path/of/the/folder")
    if scheme != "file" and not parts.netloc:
        raise StorageError(f"--storage: `{text}` names no bucket: write {scheme}://BUCKET/FOLDER")
    if any(part in (".", "..") for part in urllib.parse.unquote(path).split("/")) or parts.fragment:
        raise StorageError(f"--storage: `{scheme}://{parts.netloc}{parts.path}` has `.`, `..` or `#` in it: write it out")
    return Location(f"{scheme}://{parts.netloc}{path}", parts.query)


_SECRETS = (
    "--storage: {} has a secret in it: leave it out, and set it in the environment of every node (such as AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY), or give the nodes a role"
)
