"""Find files and folders whose names differ between copies of a data set."""

import os
import re
from pathlib import Path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
PICTURE_SUFFIXES = (*IMAGE_SUFFIXES, ".bmp", ".webp")  # in folders of one's own
MAC_FOLDER = "__MACOSX"  # what the packer of macOS adds: copies without content


def index_files(folders: tuple[str, ...], suffixes: tuple[str, ...]) -> dict[str, str]:
    """Paths by stem, sorted by stem.

    Raises:
        ValueError: two files share a stem.
    """
    paths: dict[str, str] = {}
    for folder in folders:
        for name in sorted(os.listdir(folder)):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in suffixes or name.startswith("."):
                continue
            if stem in paths:
                raise ValueError(
                    f"{os.path.join(folder, name)}: image id {stem!r} is also that of "
                    f"{paths[stem]}; expected one file an id"
                )
            paths[stem] = os.path.join(folder, name)
    return dict(sorted(paths.items()))


def find_folder(folder: Path, name: str) -> Path | None:
    """Subfolder of this name in any case."""
    exact = folder / name
    if exact.is_dir():
        return exact
    matches = [p for p in sorted(folder.iterdir()) if p.name.lower() == name.lower() and p.is_dir()]
    return matches[0] if matches else None


def find_root(root: Path, names: tuple[str, ...]) -> Path | None:
    """The folder itself or, in sorted order, a subfolder that has a subfolder of such a name."""
    subfolders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    for folder in (root, *subfolders):
        if any(find_folder(folder, name) for name in names):
            return folder
    return None


def walk_folders(folder: Path, leave_out: str = r"(?!)") -> tuple[str, ...]:
    """A folder and all below it, but hidden ones and those whose name has a pattern.

    Links are followed, as people keep pictures on another disk; a folder that several links lead
    to is there once.
    """
    found: dict[str, str] = {}  # real path -> path
    for path, subfolders, _ in os.walk(folder, followlinks=True):
        if found.setdefault(os.path.realpath(path), path) != path:
            subfolders.clear()
            continue
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith((".", MAC_FOLDER))
            and not re.search(leave_out, name, re.IGNORECASE)
        )
    return tuple(found.values())
