"""A folder behind a URI, on the local disk: whole files, and nothing that leads out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import stored

from trainables.storage import StorageError
from trainables.storage.errors import explained
from trainables.storage.names import is_sound


def test_what_is_written_is_read_listed_moved_and_removed(tmp_path: Path) -> None:
    folder = stored(tmp_path / "storage")
    folder.write("a/b.txt", b"one")
    folder.write("a/b.txt", b"two")
    (tmp_path / "local").write_bytes(b"three")
    folder.send(tmp_path / "local", "a/c/d.txt")
    assert folder.names() == ["a/b.txt", "a/c/d.txt"] and folder.names("a/c") == ["a/c/d.txt"] and folder.names("nowhere") == []
    assert folder.read("a/b.txt") == b"two" and folder.read("nothing") is None
    assert folder.child("a").read("b.txt") == b"two" and folder.folders() == ["a"]
    folder.move("a/b.txt", "e.txt")
    folder.move("gone", "e2.txt")
    assert folder.fetch("e.txt", tmp_path / "fetched" / "e") and not folder.fetch("gone", tmp_path / "f")
    assert (tmp_path / "fetched" / "e").read_bytes() == b"two" and not (tmp_path / "f").exists()
    folder.remove("e.txt")
    folder.remove("e.txt")
    folder.remove_below("a")
    assert folder.names() == [] and folder.modified_s("e.txt") is None


def test_a_file_that_is_being_written_is_not_seen_and_leaves_what_was_there(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    folder.write("a.txt", b"old")
    with pytest.raises(RuntimeError), folder._replaced("a.txt") as target:
        (tmp_path / target).write_bytes(b"half")
        assert folder.names() == ["a.txt"] and folder.read("a.txt") == b"old"
        raise RuntimeError
    assert folder.read("a.txt") == b"old" and [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_links_in_a_storage_are_neither_followed_nor_listed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "file").symlink_to(tmp_path / "outside" / "secret")
    (tmp_path / "storage" / "folder").symlink_to(tmp_path / "outside")
    (tmp_path / "storage" / "circle").symlink_to(tmp_path / "storage")
    folder = stored(tmp_path / "storage")
    assert folder.names() == []
    for name in ("file", "folder/secret"):
        with pytest.raises(StorageError, match="is a link"):
            folder.read(name)
        with pytest.raises(StorageError, match="is a link"):
            folder.fetch(name, tmp_path / "here")
    folder.remove_below("folder")
    assert (tmp_path / "outside" / "secret").exists()


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "", ".hidden", "a/.b", "c:x", "a\\b", "a\0b", "a\nb"]
)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = stored(tmp_path / "storage")
    assert not is_sound(name)
    for action in (lambda: folder.write(name, b""), lambda: folder.read(name), lambda: folder.remove(name)):
        with pytest.raises(StorageError):
            action()
    with pytest.raises(StorageError):
        folder.fetch(name, tmp_path / "here" / "file")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation", "no such bucket"),
        ("AWS Error ACCESS_DENIED during HeadBucket operation", "permission was denied"),
        ("AWS Error INVALID_ACCESS_KEY_ID during HeadBucket", "credentials are missing"),
        ("Could not create a OAuth2 access token to authenticate the request", "credentials are missing"),
        ("AWS Error NETWORK_CONNECTION during HeadBucket operation: curlCode: 6", "cannot be reached"),
    ],
)
def test_an_error_of_a_file_system_is_told_with_the_cure(said: str, cure: str) -> None:
    assert cure in str(explained("s3://bucket/x", OSError(said)))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/storage"):
        stored(tmp_path / "file" / "storage").require()
    stored(tmp_path / "new" / "storage").require()
    assert (tmp_path / "new" / "storage").is_dir()
