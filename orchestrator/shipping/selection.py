"""Which files go to the cluster: those of the folder that are neither ignored, needless nor secret, and those that are named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from orchestrator.shipping.shipment import Shipment, ShippedFile, ShippingError
from orchestrator.shipping.withheld import holds_a_private_key, is_called_like_a_credential, is_folder_not_needed, is_not_needed

PACKAGES = ("orchestrator", "trainables")


def select_files(root: Path, named: Iterable[str] = ()) -> Shipment:
    """What of ``root`` is shipped; ``named`` files and folders (relative to it) are, even where git ignores them.

    The packages ``orchestrator`` and ``trainables`` are shipped as they are installed here, where ``root`` has none of its own.

    Raises:
        ShippingError: a link leads out of ``root``, or a named file looks like a credential.
    """
    root = root.resolve()
    wanted = list(dict.fromkeys(name for entry in named for name in _beneath(root, entry)))
    secret = [name for name in wanted if _is_secret(root, name)]
    if secret:
        cure = "rename it if it is none"
        raise ShippingError(f"{secret[0]}, which the command names, looks like a credential and is not shipped: {cure}")
    found = [name for name in dict.fromkeys(_listed(root)) if not is_not_needed(name) and name not in wanted]
    _refuse_links_that_leave(root, [*wanted, *found])
    withheld = [name for name in found if _is_secret(root, name)]
    kept = {name: root / name for name in [*wanted, *found] if name not in withheld}
    files = {**_installed_packages(root), **kept}
    return Shipment(tuple(ShippedFile(name, path, path.stat().st_size) for name, path in sorted(files.items())), tuple(withheld))


def _is_secret(root: Path, name: str) -> bool:
    return is_called_like_a_credential(name) or holds_a_private_key(root / name)


def _listed(root: Path) -> Iterator[str]:
    """The files in ``root`` that are not ignored: as git says where it knows the folder, else all."""
    tracked = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if tracked is None:
        yield from _beneath(root, ".")
        return
    for name in _without_ray_ignored(root, tracked):
        # A link to a folder is one entry for git, and a file that was removed is still one.
        if os.path.islink(root / name) or (root / name).is_file():
            yield from _beneath(root, name)


def _without_ray_ignored(root: Path, names: list[str]) -> list[str]:
    ignoring = root / ".rayignore"
    if not ignoring.is_file():
        return names
    options = ("-z", "--cached", "--others", "--ignored", f"--exclude-from={ignoring}")
    ignored = set(_git(root, "ls-files", *options) or ())
    return [name for name in names if name not in ignored]


def _git(root: Path, *arguments: str) -> list[str] | None:
    """The names that git lists; None where there is no git, or ``root`` is not in a work tree."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name] if done.returncode == 0 else None


def _beneath(root: Path, name: str, entered: frozenset[Path] = frozenset()) -> Iterator[str]:
    """The file ``name``, or all files in the folder ``name``, relative to ``root``; folders that are not needed are not entered.

    A link that leads out of ``root`` is given as it is: whoever gets it refuses it. ``entered``: where links led on the way here.
    """
    path = root / name
    if not path.is_dir() or not path.resolve().is_relative_to(root):
        yield _relative(root, path)
        return
    for folder, folders, files in os.walk(path):
        inner = [
            Path(folder, entry) for entry in sorted(folders) if not is_folder_not_needed(entry, at_the_top=Path(folder) == root)
        ]
        folders[:] = [entry.name for entry in inner if not entry.is_symlink()]
        yield from (_relative(root, Path(folder, file)) for file in sorted(files))
        for link in filter(Path.is_symlink, inner):
            target = link.resolve()
            # A link to where we are already would never end.
            if target not in entered and not link.is_relative_to(target):
                yield from _beneath(root, _relative(root, link), entered | {target})


def _relative(root: Path, path: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _refuse_links_that_leave(root: Path, names: Iterable[str]) -> None:
    for name in names:
        target = (root / name).resolve()
        if not target.is_relative_to(root):
            cure = "put a copy in its place, or leave it out with .rayignore"
            raise ShippingError(f"{name} is a link that leads out of the folder that is shipped, to {target}: {cure}")
        if not target.is_file():
            raise ShippingError(f"{name} is a link that leads to no file: remove it, or leave it out with .rayignore")


def _installed_packages(root: Path) -> dict[str, Path]:
    """The files of our packages that ``root`` does not have, by the names under which they are shipped."""
    here = Path(__file__).resolve().parents[2]
    missing = [package for package in PACKAGES if not (root / package).is_dir()]
    found = (name for package in missing for name in _beneath(here, package))
    return {name: here / name for name in found if not is_not_needed(name)}
