"""URIs of storages: which are taken, and what is said of those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.storage import StorageError, cache_folder, is_uri, parse_location

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("text", "base", "options"),
    [
        ("s3://bucket/sweeps", "s3://bucket/sweeps", ""),
        ("s3://bucket/sweeps//a/", "s3://bucket/sweeps/a", ""),
        ("s3://bucket?region=eu-west-1", "s3://bucket", "region=eu-west-1"),
        ("gs://bucket/sweeps", "gs://bucket/sweeps", ""),
        ("abfss://container@account.dfs.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/x", ""),
        ("file:///data/sweeps", "file:///data/sweeps", ""),
    ],
)
def test_a_uri_is_a_base_and_options(text: str, base: str, options: str) -> None:
    location = parse_location(text)
    assert (location.base, location.options) == (base, options)
    assert location.child("one").uri == f"{base}/one" + (f"?{options}" if options else "")
    assert location.child("one").parent == location


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s4://bucket/x", "`s4://` is no storage"),
        ("s3:///x", "names no bucket"),
        ("s3:/bucket/x", "one slash too few: write s3://bucket/x"),
        ("file:///", "names no folder"),
        ("file://host/x", "names no folder of this machine"),
        ("s3://bucket/a/../b", "write it out"),
        ("s3://bucket/%2e%2e/b", "write it out"),
        ("s3://bucket/a#b", "write it out"),
    ],
)
def test_a_wrong_uri_is_told_with_the_cure(text: str, said: str) -> None:
    with pytest.raises(StorageError, match=said):
        parse_location(text)


@pytest.mark.parametrize(
    "text",
    [
        f"s3://key:{SECRET}@bucket/x",
        f"s3://{SECRET}@bucket/x",
        f"s3://bucket/x?secret_key={SECRET}",
        f"s3://bucket/x?access_key={SECRET}",
        f"s3://bucket/x?session_token={SECRET}",
        f"abfss://container:{SECRET}@account/x",
        f"abfss://container@account/x?sig={SECRET}",
    ],
)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(StorageError, match="has a secret in it") as raised:
        parse_location(text)
    assert SECRET not in str(raised.value)


def test_a_path_is_no_uri_and_a_wrong_scheme_is_one() -> None:
    assert [is_uri(text) for text in ("sweeps", "/data/sweeps", "C:/x", "s3://b", "s4://b", "file:/x")] == [False] * 3 + [
        True
    ] * 3


def test_each_storage_has_a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMSWEEP_CACHE", str(tmp_path))
    texts = ["s3://bucket/a", "s3://bucket/b", "s3://bucket/a?endpoint_override=here", "gs://bucket/a"]
    folders = {cache_folder(parse_location(text)) for text in texts}
    assert len(folders) == len(texts) and {folder.parent for folder in folders} == {tmp_path.resolve()}
    assert cache_folder(parse_location("s3://bucket/a/")) in folders


def test_a_uri_with_one_slash_too_few_is_no_folder() -> None:
    assert is_uri("s3:/bucket/sweeps")
    assert not is_uri("sweeps/s3") and not is_uri("C:/sweeps")
