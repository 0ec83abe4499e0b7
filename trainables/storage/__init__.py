"""Folders behind a URI (``s3://…``, ``gs://…``, ``file:///…``): what outlives the machines that a sweep runs on. Knows no Ray."""

from trainables.storage.cache import cache_folder
from trainables.storage.errors import StorageError
from trainables.storage.folder import StoredFolder, open_folder
from trainables.storage.location import Location, is_uri, parse_location
from trainables.storage.run_place import RunPlace

__all__ = ["Location", "RunPlace", "StorageError", "StoredFolder", "cache_folder", "is_uri", "open_folder", "parse_location"]
