"""Find the files of one SAMRS set under the folder a user names.

The sets exist as their authors keep them (`dotav2_1024_rbb/trainval/rhbox_segs_init/gray/...`) and
renamed by others (`sota/ins/...`), so folders are found by what they are called and hold. A
layout is plain data: it can be sent to worker processes.

Source: path tables of the published pretraining code and of the SAMRS scripts.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from mtp_hf.dataset_scripts._files import find_folder

SET_FOLDERS = {
    "sota": ("dotav2_1024", "sota"),
    "sota_rbb": ("dotav2_1024_rbb", "sota_rbb"),
    "sior": ("dior", "sior"),
    "fast": ("fair1m_1024", "fair1m", "fast"),
}
MASK_PREFIX = {"sota": "hbox", "sota_rbb": "rhbox", "sior": "hbox", "fast": "rhbox"}
IMAGE_FOLDERS = ("images", "jpegimages-trainval")
TEST_IMAGE_FOLDER = "jpegimages-test"
BOX_FOLDERS = ("rbbtxts", "oriented bounding boxes")
LIST_NAMES = {"train": ("train.txt",), "validation": ("valid.txt", "val.txt")}
MAX_DEPTH = 3


@dataclass(frozen=True)
class SamrsLayout:
    """Where one set keeps its files; a kind of annotation that is absent is None."""

    folder: str
    images: tuple[str, ...]
    gray: str | None
    instances: str | None  # folder of pickles
    boxes: str | None  # folder of text or xml files
    instance_json: tuple[str, ...] = ()
    lists: dict[str, str] = field(default_factory=dict)  # split -> file

    def annotation_folders(self) -> list[str]:
        """Folders whose files decide the rows, in a fixed order."""
        return [*self.images, *(f for f in (self.gray, self.instances, self.boxes) if f)]

    def fingerprint(self) -> str:
        """Hash of names, sizes and times of all files used, so that a changed set is read anew."""
        digest = hashlib.sha256()
        files = [Path(file) for file in (*self.instance_json, *self.lists.values())]
        stats = [(file.name, file.stat()) for file in files]
        for folder in self.annotation_folders():
            with os.scandir(folder) as entries:
                stats += sorted(((e.name, e.stat()) for e in entries), key=lambda pair: pair[0])
        for name, stat in stats:
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]


def find_layout(config_name: str, data_dir: str | Path, include_test: bool = False) -> SamrsLayout:
    """Find the set of `config_name` in its own folder or in the SAMRS root around it.

    Raises:
        FileNotFoundError: there is no such folder, or no image folder in it.
        ValueError: the folder belongs to another set.
    """
    root = Path(data_dir).expanduser().resolve()
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder; expected the folder of SAMRS set {config_name!r} "
            f"({' or '.join(SET_FOLDERS[config_name])}) or the SAMRS root above it"
        )
    folder, images = _find_set(config_name, root)
    if include_test and (tests := find_folder(folder, TEST_IMAGE_FOLDER)):
        images.append(tests)
    found = [path for path in sorted(_subfolders(folder)) if path not in images]
    prefix = MASK_PREFIX[config_name]
    return SamrsLayout(
        folder=str(folder),
        images=tuple(map(str, images)),
        gray=_pick([p for p in found if "gray" in p.name.lower()], prefix),
        instances=_pick([p for p in found if p.name.lower() == "ins" and _has(p, ".pkl")], prefix),
        boxes=_pick([p for p in found if p.name.lower() in BOX_FOLDERS], ""),
        instance_json=tuple(str(p) for p in sorted(folder.glob("*_ins_segmentation.json"))),
        lists={
            split: str(folder / name)
            for split, names in LIST_NAMES.items()
            for name in reversed(names)  # the first name wins
            if (folder / name).is_file()
        },
    )


def _find_set(config_name: str, root: Path) -> tuple[Path, list[Path]]:
    owner = root.parent if root.name.lower() == "trainval" else root
    for other, names in SET_FOLDERS.items():
        if other != config_name and owner.name.lower() in names and _image_folders(owner):
            raise ValueError(
                f"{root}: this is the folder of config {other!r}, but config {config_name!r} was "
                f"asked for; expected {' or '.join(SET_FOLDERS[config_name])}"
            )
    named = [child for name in SET_FOLDERS[config_name] if (child := find_folder(root, name))]
    for folder in (*named, root):
        for inner in (find_folder(folder, "trainval"), folder):
            if inner and (images := _direct_images(inner)):
                return inner, images
    raise FileNotFoundError(
        f"{root}: no images of SAMRS set {config_name!r}; expected a folder 'images' or "
        f"'JPEGImages-trainval' here, in 'trainval' or in "
        f"{' or '.join(repr(name) for name in SET_FOLDERS[config_name])}"
    )


def _direct_images(folder: Path) -> list[Path]:
    return [child for name in IMAGE_FOLDERS if (child := find_folder(folder, name))][:1]


def _image_folders(folder: Path) -> bool:
    inner = find_folder(folder, "trainval")
    return bool(_direct_images(folder) or (inner and _direct_images(inner)))


def _subfolders(folder: Path, depth: int = MAX_DEPTH) -> list[Path]:
    children = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    deeper = [p for child in children if depth > 1 for p in _subfolders(child, depth - 1)]
    return children + deeper


def _has(folder: Path, suffix: str) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(suffix) for entry in entries)


def _pick(folders: list[Path], prefix: str) -> str | None:
    """The folder whose parent says which prompts made the masks, else the first."""
    ranked = sorted(folders, key=lambda p: not p.parent.name.lower().startswith(prefix))
    return str(ranked[0]) if ranked else None
