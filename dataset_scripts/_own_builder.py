"""What the builders of one's own folders share: options, classes, pictures of any kind.

The numbers of classes are positions in `class_names`: the option, else what the files tell. They
are part of a builder's features, so the files that tell them are read when it is made.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._detection_rows import ClassNumbers, DetectionRecord
from mtp_hf.dataset_scripts._pictures import PicturesConfig, picture_columns
from mtp_hf.dataset_scripts._readers import AnnotationError, BoxRecord, PolygonRecord, read_text

CLASS_FILES = (
    "classes.txt",
    "labels/classes.txt",
    "labels/train/classes.txt",
    "train/labels/classes.txt",
    "train/classes.txt",
    "class_names.txt",
    "obj.names",
)
MISSING_LABELS = ("empty", "error")


@dataclass
class OwnConfig(PicturesConfig):
    """Options of every folder of one's own.

    Attributes:
        class_names: classes in the order of their numbers; None to take them from the files.
    """

    class_names: list[str] | None = None


@dataclass
class OwnBoxConfig(OwnConfig):
    """Options of a folder with one label file a picture.

    Attributes:
        missing_labels: what a picture without label file is: `empty` has no object, `error` stops.
    """

    missing_labels: str = "error"

    def check_options(self) -> None:
        """Refuse another word for missing labels."""
        super().check_options()
        if self.missing_labels not in MISSING_LABELS:
            raise ValueError(
                f"missing_labels={self.missing_labels!r}; expected one of {MISSING_LABELS}"
            )


class OwnBuilder(FilesBuilder):
    """Read a folder of one's own; subclasses also define `find_class_names`."""

    BUILDER_CONFIG_CLASS = OwnConfig

    @functools.cached_property
    def class_names(self) -> list[str]:
        """Classes in the order of their numbers, from the option or the files."""
        if self.config.class_names is not None:
            return check_class_names(self.config.class_names, "option class_names")
        root = self.config.root()
        return check_class_names(self.find_class_names(root), str(root))

    def find_class_names(self, root: Path) -> list[str]:
        """Classes as the files tell them."""
        raise NotImplementedError("a builder says where its classes stand")

    @functools.cached_property
    def classes(self) -> ClassNumbers:
        """Numbers of the classes."""
        return ClassNumbers(self.class_names)

    def names_in_labels(
        self,
        splits: dict[str, list[DetectionRecord]],
        read: Callable[[str], Iterable[BoxRecord | PolygonRecord]],
    ) -> list[str]:
        """Names of a `classes.txt`, else all names in the label files, sorted.

        Files that are left out later (`on_error="skip"`) are left out here.
        """
        listed = read_class_file(self.config.root())
        if listed is not None:
            return listed
        names: set[str] = set()
        for record in (record for records in splits.values() for record in records):
            try:
                names.update(o.name for o in (read(record.annotation) if record.annotation else ()))
            except AnnotationError:
                if self.config.on_error == "raise":
                    raise
        return sorted(names)

    def picture_columns(self, image_id: str, path: str) -> dict[str, Any]:
        """Columns of a picture (`_pictures`): id, 8-bit RGB, width and height.

        Raises:
            AnnotationError: the file is no image, is damaged, or lacks the bands.
        """
        config = self.config
        return picture_columns(image_id, path, bands=config.bands, max_pixels=config.max_pixels)


def check_class_names(names: Iterable[str], where: str) -> list[str]:
    """The names as a list.

    Raises:
        AnnotationError: there is none, one is no text, or one is there twice.
    """
    names = list(names)
    wrong = [name for name in names if not isinstance(name, str) or not name.strip()]
    twice = [name for name in names if names.count(name) > 1]
    if not names or wrong or twice:
        found = repr(wrong[0]) if wrong else f"{twice[0]!r} twice" if twice else "none"
        raise AnnotationError(f"{where}: class names: found {found}; expected names, each once")
    return names


def read_class_file(root: Path) -> list[str] | None:
    """Names of a `classes.txt`, one a line; None where there is no such file.

    Raises:
        AnnotationError: the file is no text, is empty or names a class twice.
    """
    file = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if file is None:
        return None
    lines = read_text(file).splitlines()
    return check_class_names([line.strip() for line in lines if line.strip()], str(file))
