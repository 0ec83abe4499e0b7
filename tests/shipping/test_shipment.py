"""The list that is shown, its limit, and the copy that is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import fill

from orchestrator.shipping import Shipment, ShippedFile, ShippingError
from orchestrator.shipping.received import remove_what_is_gone
from orchestrator.shipping.shipment import LIMIT_MIB, MANIFEST, MIB


def test_the_listing_has_every_file_with_its_size_the_largest_near_the_total() -> None:
    files = (ShippedFile("a", Path("a"), 3 * MIB), ShippedFile("b.py", Path("b"), 12), ShippedFile("c/d.yaml", Path("d"), 2048))
    lines = Shipment(files, (".env",)).listing().splitlines()
    assert [line.strip() for line in lines] == [
        "12 B  b.py",
        "2.0 KiB  c/d.yaml",
        "3.0 MiB  a",
        "withheld  .env (looks like a credential)",
        "3 files, 3.0 MiB, go to the cluster",
    ]


def test_more_than_ray_takes_is_refused_and_the_biggest_are_named() -> None:
    Shipment((ShippedFile("all", Path("a"), LIMIT_MIB * MIB),)).refuse_too_much()
    small = [ShippedFile(f"small{number}", Path("s"), 1) for number in range(9)]
    big = [ShippedFile("big.bin", Path("b"), 90 * MIB), ShippedFile("bigger.bin", Path("b"), 95 * MIB)]
    with pytest.raises(
        ShippingError, match=r"185\.0 MiB are more than the 100 MiB.*: bigger\.bin \(95\.0 MiB\), big\.bin .*rayignore"
    ):
        Shipment(tuple(small + big)).refuse_too_much()


def test_the_staged_copy_has_exactly_the_files_and_is_removed(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sh": "x", "b/c": "y", "other": "z"})
    (tmp_path / "a.sh").chmod(0o755)
    files = (ShippedFile("a.sh", tmp_path / "a.sh", 1), ShippedFile("b/c", tmp_path / "b/c", 1))
    with Shipment(files).staged() as staged:
        assert sorted(str(path.relative_to(staged)) for path in staged.rglob("*") if path.is_file()) == [MANIFEST, "a.sh", "b/c"]
        assert (staged / "a.sh").stat().st_mode & 0o111 and (staged / "b/c").read_text() == "y"
        assert (staged / MANIFEST).read_text() == "a.sh\nb/c\n"
    assert not staged.exists()


def test_the_next_shipment_removes_what_the_last_one_brought_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, {MANIFEST: "a\nb\n", "a": "", "b": "", "sweeps/s": "", "mine": ""})
    assert remove_what_is_gone(tmp_path) == []
    fill(tmp_path, {MANIFEST: "b\nc\n", "c": ""})
    assert remove_what_is_gone(tmp_path) == ["a"]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["b", "c", "mine", "sweeps"]


def test_a_manifest_removes_nothing_outside_of_the_folder(tmp_path: Path) -> None:
    outside = fill(
        tmp_path, {"precious": "", "folder/.memsweep-received": f"../precious\n{tmp_path}/precious\n", f"folder/{MANIFEST}": ""}
    )
    assert remove_what_is_gone(tmp_path / "folder") == []
    assert (outside / "precious").exists()
