"""Numbers of images and classes in COCO results: those of an annotation file, or our own.

Without a file, images count from 0 in the order they are predicted in and classes in label order,
as in what `mtp-hf data export` makes of a split. A file of these numbers is written beside the
results; it is a COCO file without annotations.

Source: COCO's data format.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mtp_hf.dataset_scripts._coco_files import read_coco_file
from mtp_hf.dataset_scripts.class_names import normalize_class_name
from mtp_hf.datasets_command.coco_export import coco_categories, coco_image
from mtp_hf.submissions.places import Size

Number = int | str  # ids of images as they are in a file


@dataclass(frozen=True)
class CocoNumbers:
    """Numbers by name.

    Args:
        origin: where they are from, for messages.
        images: file name -> number.
        sizes: number of an image -> its size, where that is known.
        categories: name as `normalize_class_name` gives it -> number; none: not known.
        is_counted: whether images and classes count from 0, as no file says them.
    """

    origin: str
    images: Mapping[str, Number]
    sizes: Mapping[Number, Size]
    categories: Mapping[str, int]
    is_counted: bool = False

    def of_image(self, image_id: str, file_name: str) -> Number:
        """Number of an image.

        Raises:
            ValueError: there is none.
        """
        names = (path_of(image_id, file_name), file_name)
        for name in names:
            if name in self.images:
                return self.images[name]
        raise ValueError(
            f"{self.origin}: no image {' or '.join(dict.fromkeys(names))} among"
            f" {len(self.images)}; expected all that are predicted"
        )

    def of_classes(self, class_names: Sequence[str]) -> list[int]:
        """Numbers of the classes, in label order.

        Raises:
            ValueError: one is not known.
        """
        if self.is_counted:
            return list(range(len(class_names)))
        known = self.categories
        missing = [name for name in class_names if normalize_class_name(name) not in known]
        if missing:
            raise ValueError(
                f"{self.origin}: no category for the classes {', '.join(missing)} of the model;"
                f" found {len(known)} categories"
            )
        return [known[normalize_class_name(name)] for name in class_names]


def read_coco_numbers(path: Path) -> CocoNumbers:
    """Read the numbers of an annotation file.

    An image is also known by its name without folders, where that is its alone.

    Raises:
        ValueError: there is no such file, it is no COCO file, or two classes share a name.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    content = read_coco_file(path, path.parent, "test")
    entries: list[dict[str, Any]] = [picture.entry for picture in content.pictures]
    bare = {PurePosixPath(each["file_name"]).name: each["id"] for each in entries}
    times = Counter(PurePosixPath(each["file_name"]).name for each in entries)
    alone = {name: number for name, number in bare.items() if times[name] == 1}
    spelled = {normalize_class_name(name): number for number, name in content.categories.items()}
    if len(spelled) < len(content.categories):
        raise ValueError(f"{path}: two categories share a name: {content.categories}")
    return CocoNumbers(
        origin=str(path),
        images=alone | {each["file_name"]: each["id"] for each in entries},
        sizes={
            each["id"]: (each["height"], each["width"])
            for each in entries
            if isinstance(each.get("height"), int) and isinstance(each.get("width"), int)
        },
        categories=spelled,
    )


def path_of(image_id: str, file_name: str) -> str:
    """Name of an image in a COCO file: with its folders where the id has them."""
    path = f"{image_id}{PurePosixPath(file_name).suffix}"
    return path if PurePosixPath(path).name == file_name else file_name


def count_from_zero(names: Sequence[str]) -> CocoNumbers:
    """Number images, by what `path_of` calls them, and classes by their places.

    Raises:
        ValueError: two images share a name.
    """
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(
            f"several images are called {twice[0]}: take their numbers from a file, --annotations"
        )
    return CocoNumbers(
        origin="the images",
        images={name: number for number, name in enumerate(names)},
        sizes={},
        categories={},
        is_counted=True,
    )


def write_coco_numbers(
    path: Path, numbers: CocoNumbers, records: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> None:
    """Write the numbers of predicted images and of the classes as a COCO file.

    Args:
        path: of the file.
        numbers: by name.
        records: of images, see `mtp_hf.submissions.writing`.
        names: K classes in label order.
    """
    images = []
    for record in records:
        name = path_of(record["image_id"], record["file_name"])
        number = numbers.of_image(record["image_id"], record["file_name"])
        images.append(coco_image(number, name, (record["height"], record["width"])))
    content = {"images": images, "categories": coco_categories(names)}
    path.write_text(json.dumps(content), encoding="utf-8")
