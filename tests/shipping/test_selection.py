"""Which files are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from folders import fill, git

from orchestrator.shipping import ShippingError, select_files
from orchestrator.shipping.withheld import holds_a_private_key, is_called_like_a_credential, is_not_needed

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
OURS = {"orchestrator/a.py": "", "trainables/b.py": ""}


def names(root: Path, *named: str) -> list[str]:
    return [file.name for file in select_files(root, named).files]


@pytest.mark.parametrize("in_git", [True, False], ids=["with git", "without git"])
def test_code_and_search_spaces_are_shipped_and_caches_results_and_data_are_not(tmp_path: Path, in_git: bool) -> None:
    left_out = [".venv/x.py", "orchestrator/__pycache__/a.pyc", "sweeps/s/record.jsonl", "mlruns/1", "data/big.csv", "tests/t.py"]
    left_out += ["memsweep.egg-info/PKG", ".mypy_cache/x", "results/r.json", "mlflow.db", ".gitignore"]
    fill(tmp_path, {**OURS, "search_spaces/x.yaml": "", **dict.fromkeys(left_out, "")})
    if in_git:
        git(tmp_path, "init")
    assert names(tmp_path) == ["orchestrator/a.py", "search_spaces/x.yaml", "trainables/b.py"]


def test_what_git_or_ray_ignores_is_not_shipped_unless_it_is_named(tmp_path: Path) -> None:
    fill(tmp_path, {**OURS, ".gitignore": "*.csv\n", ".rayignore": "notes/\n", "a.csv": "1", "notes/n.md": "x", "kept.md": "x"})
    git(tmp_path, "init")
    git(tmp_path, "add", "notes")
    assert names(tmp_path) == ["kept.md", *OURS]
    assert names(tmp_path, "a.csv", "notes") == ["a.csv", "kept.md", "notes/n.md", *OURS]


def test_a_named_folder_is_shipped_even_if_it_is_called_data(tmp_path: Path) -> None:
    fill(tmp_path, {**OURS, "data/series/a.csv": "1", "data/series/more/b.csv": "2", "data/other.csv": "3"})
    assert names(tmp_path, "data/series") == ["data/series/a.csv", "data/series/more/b.csv", *OURS]


def test_files_that_were_removed_but_not_from_the_index_are_no_trouble(tmp_path: Path) -> None:
    fill(tmp_path, {**OURS, "gone.md": "x"})
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    (tmp_path / "gone.md").unlink()
    assert names(tmp_path) == list(OURS)


SECRET = [".env", ".env.local", "server.pem", "my.KEY", "id_rsa", "id_ed25519.pub", "auth_token", "credentials.json"]
SECRET += ["x/.aws/config", "a.p12", ".netrc", "gcp-credentials-1.json", "secrets.yaml"]


@pytest.mark.parametrize("name", SECRET)
def test_files_called_like_credentials_stay_here_and_are_listed(tmp_path: Path, name: str) -> None:
    fill(tmp_path, {**OURS, name: "x"})
    shipment = select_files(tmp_path)
    assert shipment.withheld == (name,) and name not in [file.name for file in shipment.files]
    assert f"withheld  {name} (looks like a credential)" in shipment.listing()


@pytest.mark.parametrize("name", ["credentials.py", "environment.py", "keys.yaml", "monkey.txt", "token_models.py", "env.yaml"])
def test_ordinary_names_are_no_credentials(name: str) -> None:
    assert not is_called_like_a_credential(name)


@pytest.mark.parametrize(
    "text", [KEY, f"x\n{KEY}", '{"private_key": "-----BEGIN PRIVATE KEY-----\\nAA"}', "PuTTY-User-Key-File-3: x"]
)
def test_a_private_key_is_found_by_its_header_whatever_the_file_is_called(tmp_path: Path, text: str) -> None:
    fill(tmp_path, {**OURS, "notes.txt": text})
    assert select_files(tmp_path).withheld == ("notes.txt",)


def test_text_about_keys_and_empty_files_hold_none(tmp_path: Path) -> None:
    fill(tmp_path, {"a": "", "b": "it begins with -----BEGIN PRIVATE KEY-----", "c": "-----BEGIN CERTIFICATE-----"})
    assert not any(holds_a_private_key(tmp_path / name) for name in "abc")


def test_a_named_credential_is_refused_rather_than_left_out(tmp_path: Path) -> None:
    fill(tmp_path, {**OURS, "server.pem": "x"})
    with pytest.raises(ShippingError, match=r"server\.pem, which the command names, looks like a credential"):
        select_files(tmp_path, ["server.pem"])


@pytest.mark.parametrize("in_git", [True, False], ids=["with git", "without git"])
@pytest.mark.parametrize("is_folder", [True, False], ids=["to a folder", "to a file"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, in_git: bool, is_folder: bool) -> None:
    outside = fill(tmp_path / "outside", {"secret.txt": "x"})
    root = fill(tmp_path / "root", OURS)
    (root / "link").symlink_to(outside if is_folder else outside / "secret.txt")
    if in_git:
        git(root, "init")
        git(root, "add", ".")
    with pytest.raises(ShippingError, match=r"link is a link that leads out of the folder.*outside.*\.rayignore"):
        select_files(root)


def test_a_link_out_of_what_is_not_shipped_anyway_is_not_looked_at(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", OURS)
    (root / "data").symlink_to(tmp_path)
    assert names(root) == list(OURS)


@pytest.mark.parametrize("in_git", [True, False], ids=["with git", "without git"])
def test_a_link_within_is_shipped_as_what_it_shows_and_circles_end(tmp_path: Path, in_git: bool) -> None:
    fill(tmp_path, {**OURS, "shared/x.yaml": "text"})
    for link, target in {"again": "shared", "shared/back": "..", "one.yaml": "shared/x.yaml", "shared/here": "."}.items():
        (tmp_path / link).symlink_to(target)
    if in_git:
        git(tmp_path, "init")
        git(tmp_path, "add", ".")
    found = {file.name: file.size for file in select_files(tmp_path).files}
    assert found["again/x.yaml"] == found["one.yaml"] == found["shared/x.yaml"] == 4
    assert len(found) < 30


def test_a_broken_link_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, OURS)
    (tmp_path / "broken").symlink_to("nothing")
    with pytest.raises(ShippingError, match="broken is a link that leads to no file"):
        select_files(tmp_path)


def test_our_packages_are_shipped_as_installed_where_the_folder_has_none(tmp_path: Path) -> None:
    shipped = names(fill(tmp_path, {"x.yaml": ""}))
    assert {"x.yaml", "orchestrator/submit.py", "orchestrator/shipping/received.py", "trainables/registry.py"} <= set(shipped)
    assert not any(is_not_needed(name) for name in shipped)
