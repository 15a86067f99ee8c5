"""Find files and folders whose names differ between copies of a data set."""

import os
from pathlib import Path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


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
