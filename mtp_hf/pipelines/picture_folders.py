"""Pictures in a folder that a user names, and in all folders below it.

Left out are hidden folders and those that `training/predict.py` wrote results to: what it draws is
no picture of the user.
"""

import os
from collections import Counter
from pathlib import Path

from mtp_hf.dataset_scripts._files import index_files, walk_folders
from mtp_hf.dataset_scripts._own_folders import PICTURE_SUFFIXES

SUFFIXES = (*PICTURE_SUFFIXES, ".jp2")
RESULTS_FILE = "results.jsonl"  # of predictions


def index_pictures(folder: Path, leave_out: Path | None = None) -> dict[str, str]:
    """Paths by name, which is the path from the folder on without suffix; sorted by name.

    Args:
        folder: to look into.
        leave_out: folder inside of it that is not looked into.

    Raises:
        ValueError: two files share a name.
    """
    found: dict[str, str] = {}
    for each in _folders(folder, leave_out):
        place = Path(each).relative_to(folder)
        own = index_files((each,), SUFFIXES)
        found |= {(place / stem).as_posix(): path for stem, path in own.items()}
    return dict(sorted(found.items()))


def index_picture_stems(folder: Path) -> dict[str, str]:
    """Paths by stem, sorted, as a test server names pictures wherever they lie.

    Raises:
        ValueError: two files share a stem.
    """
    return index_files(tuple(_folders(folder)), SUFFIXES)


def count_other_files(folder: Path, leave_out: Path | None = None) -> Counter[str]:
    """Number of files that are no pictures, by suffix; hidden ones do not count."""
    names = [name for each in _folders(folder, leave_out) for name in _files(each)]
    suffixes = [os.path.splitext(name)[1].lower() for name in names]
    return Counter(suffix for suffix in suffixes if suffix not in SUFFIXES)


def _folders(folder: Path, leave_out: Path | None = None) -> list[str]:
    found = walk_folders(folder)
    without = [Path(each) for each in found[1:] if (Path(each) / RESULTS_FILE).is_file()]
    without = [each.resolve() for each in (*without, leave_out) if each is not None]
    return [
        each
        for each in found
        if not any(Path(each).resolve().is_relative_to(other) for other in without)
    ]


def _files(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file() and entry.name[0] != "."]
