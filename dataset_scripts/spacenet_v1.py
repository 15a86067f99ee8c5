"""Builder of SpaceNet v1: buildings of Rio de Janeiro in chips of about 439 x 406 pixels.

    rows = load_dataset("spacenet_v1", data_dir="SN1_buildings", split="train")

Read are the pictures of three bands, `3band_AOI_1_RIO_img<n>.tif`, and the footprints of the same
numbers, `Geo_AOI_1_RIO_img<n>.geojson`, wherever they lie below the folder: in
`processedBuildingLabels/{3band,vectordata/geojson}`, `SN1_buildings/train/{3band,geojson}` or
`{3band,geojson}`, or in the archives of these. Masks are burned from the footprints: 0 background,
1 building. A footprint file may be empty; one that is missing is an error.

Config `mtp_5000_1940` divides the 6,940 chips into 5,000 for training and 1,940 for the test. That
MTP did so is published, its lists are not: the split is drawn with `split_seed`. Where there are
fewer chips, they are divided in this ratio.

Source: SpaceNet (Van Etten et al. 2018); MTP (Wang et al. 2024) for the split.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import datasets
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._change_maps import encode_png
from mtp_hf.dataset_scripts._files import walk_folders
from mtp_hf.dataset_scripts._footprints import Grid, burn_footprints, read_footprints
from mtp_hf.dataset_scripts._rasters import Raster
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._splits import draw_split, warn_of_draw
from mtp_hf.dataset_scripts.features import segmentation_features

logger = datasets.utils.logging.get_logger(__name__)

IMAGE_NAME = re.compile(r"3band_(AOI_1_RIO_img\d+)\.tiff?", re.IGNORECASE)
LABEL_NAME = re.compile(r"Geo_(AOI_1_RIO_img\d+)\.geojson", re.IGNORECASE)
# Archives of what is not read: eight bands, and test chips of another area without labels.
UNREAD_ARCHIVES = re.compile(r"8band|_test_", re.IGNORECASE)
COUNTS = {"train": 5000, "test": 1940}


@dataclass
class SpacenetV1Config(FilesConfig):
    """Options of SpaceNet v1."""

    def wants_archive(self, archive: Path) -> bool:
        """Leave alone what holds no labelled chip of three bands."""
        return not UNREAD_ARCHIVES.search(archive.name)


class Chip(NamedTuple):
    """A picture and its footprints; an empty path where they are missing."""

    image_id: str
    image: str
    label: str


class SpacenetV1(FilesBuilder):
    """Read SpaceNet v1; splits `train` and `test`."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = SpacenetV1Config
    BUILDER_CONFIGS: ClassVar[list[SpacenetV1Config]] = [
        SpacenetV1Config(
            name="mtp_5000_1940", version=VERSION, description="5,000 train, 1,940 test, drawn"
        )
    ]

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=segmentation_features())

    def find_records(self, root: Path) -> dict[str, Sequence[Chip]]:
        """Chips of the two drawn splits, in the order of their numbers."""
        images = _index(root, IMAGE_NAME)
        labels = _index(root, LABEL_NAME)
        if not images or not labels:
            missing = "Geo_AOI_1_RIO_img<n>.geojson" if images else "3band_AOI_1_RIO_img<n>.tif"
            raise FileNotFoundError(f"{root}: no file {missing}; expected those of SpaceNet v1")
        if unused := sorted(labels.keys() - images.keys()):
            logger.warning(f"{root}: {len(unused)} label files without an image, first {unused[0]}")
        splits = draw_split(list(images), COUNTS, seed=self.config.split_seed)
        warn_of_draw(root, splits, self.config.split_seed, "no split is published")
        return {
            split: [Chip(i, images[i], labels.get(i, "")) for i in sorted(ids, key=_number)]
            for split, ids in splits.items()
        }

    def read_record(self, record: Chip) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one chip."""
        if not record.label:
            raise AnnotationError(
                f"{record.image}: no Geo_{record.image_id}.geojson; expected a file of footprints "
                "for every chip, if only an empty one"
            )
        with Raster(record.image, max_pixels=self.config.max_pixels) as raster:
            picture = raster.read_rgb()
        areas = read_footprints(record.label)
        mask = burn_footprints(areas, read_grid(record.image), record.label)
        height, width = mask.shape
        row = {
            "image_id": record.image_id,
            "image": {"path": f"{record.image_id}.png", "bytes": encode_png(picture)},
            "mask": {"path": f"{record.image_id}_mask.png", "bytes": encode_png(mask)},
            "width": width,
            "height": height,
            "scene": None,
        }
        yield record.image_id, row


def read_grid(path: str | Path) -> Grid:
    """Where the pixels of a TIFF lie, in degrees.

    Raises:
        AnnotationError: the file does not say it, or not in longitude and latitude.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, driver="GTiff") as file:
                crs, transform, (height, width) = file.crs, file.transform, file.shape
    except RasterioError as error:
        raise AnnotationError(f"{path}: the image file is damaged ({error})") from None
    if transform.is_identity or transform.is_degenerate:
        raise AnnotationError(f"{path}: the file does not say where it lies; expected a transform")
    if crs is not None and not (crs.is_geographic and crs.to_epsg() in (4326, None)):
        raise AnnotationError(f"{path}: coordinates in {crs.to_string()}; expected EPSG:4326")
    return Grid(height, width, transform)


def _index(root: Path, name: re.Pattern[str]) -> dict[str, str]:
    """Paths of the files of a name by the id in it."""
    paths: dict[str, str] = {}
    for folder in walk_folders(root):
        for path in sorted(Path(folder).iterdir()):
            match = name.fullmatch(path.name)
            if match is None:
                continue
            if match[1] in paths:
                raise AnnotationError(
                    f"{path}: image id {match[1]!r} is also that of {paths[match[1]]}; expected "
                    "one file an id"
                )
            paths[match[1]] = str(path)
    return paths


def _number(image_id: str) -> int:
    return int(image_id.rpartition("img")[2])
