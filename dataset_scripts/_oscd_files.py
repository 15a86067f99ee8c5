"""Find the cities of OSCD: pictures, change map and split of each.

The three archives unpack to `Onera Satellite Change Detection dataset - Images` (a folder for each
city, `train.txt` and `test.txt`) and `... - Train Labels` and `... - Test Labels` (`<city>/cm`);
copies rename or merge them. So a city is any folder that holds pictures of two dates, its labels
are a folder of its name that holds `cm`, and both may lie anywhere below the root. Names are
compared without case, blanks, hyphens and underscores.

Source: Caye Daudt et al. 2018 (`oscd.py`); the cities of the splits are those of its text files.
"""

import os
from pathlib import Path
from typing import NamedTuple

import datasets

from mtp_hf.dataset_scripts._files import walk_folders
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.class_names import normalize_class_name

logger = datasets.utils.logging.get_logger(__name__)

PICTURE_FOLDERS = ("imgs_1_rect", "pair", "imgs_1")
LABEL_FOLDER = "cm"
ONE_AND_TWO = ("-cm.tif", "-cm.tiff")  # ends of maps of 1 = unchanged, 2 = changed
OSCD_CITIES: dict[str, list[str]] = {
    "train": [
        "aguasclaras",
        "bercy",
        "bordeaux",
        "nantes",
        "paris",
        "rennes",
        "saclay_e",
        "abudhabi",
        "cupertino",
        "pisa",
        "beihai",
        "hongkong",
        "beirut",
        "mumbai",
    ],
    "test": [
        "brasilia",
        "montpellier",
        "norcia",
        "rio",
        "saclay_w",
        "valencia",
        "dubai",
        "lasvegas",
        "milano",
        "chongqing",
    ],
}


class City(NamedTuple):
    """One city.

    Attributes:
        image_id: its name.
        folder: pictures; where none is, if the city was listed and not found.
        change_map: file of the map; None where the labels of the split are not there, and a file
            that is not there where only those of other cities are.
        is_one_unchanged: the map says 1 = unchanged, 2 = changed.
    """

    image_id: str
    folder: str
    change_map: str | None
    is_one_unchanged: bool


def find_cities(root: Path) -> dict[str, list[City]]:
    """Cities of each split, sorted by name.

    Raises:
        FileNotFoundError: there is no city.
        ValueError: a city is there twice, or belongs to no split.
    """
    pictures = _index_by_name(root, PICTURE_FOLDERS)
    if not pictures:
        raise FileNotFoundError(
            f"{root}: no folder of a city; expected some that hold 'imgs_1_rect' and 'imgs_2_rect'"
            " or 'pair', in 'Onera Satellite Change Detection dataset - Images'"
        )
    labels = _index_by_name(root, (LABEL_FOLDER,))
    splits = {}
    for split, names in _read_splits(root, pictures).items():
        maps = {name: _find_map(labels.get(normalize_class_name(name))) for name in sorted(names)}
        if not any(maps.values()):
            logger.warning(f"{root}: no labels of split {split!r}; its rows have no mask")
        else:
            maps = {name: file or _absent_map(root, name) for name, file in maps.items()}
        splits[split] = [
            City(
                name,
                pictures.get(normalize_class_name(name), str(root / name)),
                file,
                file is not None and file.lower().endswith(ONE_AND_TWO),
            )
            for name, file in maps.items()
        ]
    return splits


def _index_by_name(root: Path, holding: tuple[str, ...]) -> dict[str, str]:
    """Folders that hold one of some subfolders, by compared name."""
    found: dict[str, str] = {}
    for folder in walk_folders(root, "^__MACOSX$"):
        if any(os.path.isdir(os.path.join(folder, name)) for name in holding):
            name = normalize_class_name(os.path.basename(folder))
            if name in found:
                raise AnnotationError(
                    f"{folder}: the same city as {found[name]}; expected every city once, name the"
                    " folder of one copy"
                )
            found[name] = folder
    return found


def _find_map(folder: str | None) -> str | None:
    if folder is None:
        return None
    files = sorted(Path(folder, LABEL_FOLDER).iterdir())
    for is_map in (
        lambda file: file.name.lower() == "cm.png",
        lambda file: file.name.lower().endswith(ONE_AND_TWO),
    ):
        if match := next(filter(is_map, files), None):
            return str(match)
    return None


def _absent_map(root: Path, name: str) -> str:
    return str(root / name / LABEL_FOLDER / "cm.png")


def _read_splits(root: Path, pictures: dict[str, str]) -> dict[str, list[str]]:
    """Names of each split: by the text files beside the cities, without them as published."""
    places = sorted({os.path.dirname(folder) for folder in pictures.values()} | {str(root)})
    files = {split: [Path(place, f"{split}.txt") for place in places] for split in OSCD_CITIES}
    found = {split: next(filter(Path.is_file, paths), None) for split, paths in files.items()}
    if any(found.values()):
        splits = {split: _read_names(file) for split, file in found.items() if file}
    else:
        splits = {
            split: [name for name in names if normalize_class_name(name) in pictures]
            for split, names in OSCD_CITIES.items()
        }
        splits = {split: names for split, names in splits.items() if names}
        logger.warning(f"{root}: no train.txt and test.txt; cities are split as published")
    listed = {normalize_class_name(name) for names in splits.values() for name in names}
    if unknown := sorted(set(pictures) - listed):
        raise AnnotationError(
            f"{pictures[unknown[0]]}: the city is in no split; expected it in train.txt or"
            f" test.txt ({len(unknown)} such cities)"
        )
    return splits


def _read_names(file: Path) -> list[str]:
    """Names of a list that commas or line ends part."""
    try:
        words = file.read_text(encoding="utf-8-sig").replace("\n", ",").split(",")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{file}: not a text file ({error})") from None
    names = [word.strip() for word in words if word.strip()]
    if not names:
        raise AnnotationError(f"{file}: the list is empty; expected names of cities")
    if len(names) > len({normalize_class_name(name) for name in names}):
        raise AnnotationError(f"{file}: a city is listed twice; expected every city once")
    return names
