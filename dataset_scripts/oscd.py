"""Builder of OSCD: urban change in 24 cities, two Sentinel-2 dates each, 10 m a pixel.

    rows = load_dataset("oscd", "rgb", data_dir="oscd", split="train")
    tiles = load_dataset("oscd", "rgb_tiles", data_dir="oscd", split="train")

14 cities train, 10 test. Three ways to see them:

- `rgb`: bands B04, B03, B02 of the registered crops (`imgs_*_rect`), 16 bits stretched to 8.
- `pair`: the 8-bit previews that come with the set.
- `all_bands`: `image` and `image_post` are lists of 13 pictures of one band and 16 bits, in the
  order of `OSCD_BANDS`; `np.stack(row["image"])` is (13, H, W). Cities differ in size in both
  directions, which the array columns of `datasets` do not allow, and lists of numbers take seconds
  to read.

`rgb_tiles` and `pair_tiles` cut them into tiles of 96 pixels side by side, those of the last column
and row padded; over the test cities they are the 385 that MTP counts.

Stretch: MTP does not say which it used. The default is a fixed one, so that both dates and all
cities share it: reflectance 0 to 0.275 (digital numbers 0 to 2750), as the authors of EuroSAT made
their pictures of the same satellite. `stretch="percentile"` takes the 2nd and 98th percentile of
the three bands of each picture instead; `stretch_range` sets other numbers for either.

Source: Caye Daudt et al. 2018, Urban Change Detection for Multispectral Earth Observation Using
Convolutional Neural Networks; labels CC BY-NC-SA 4.0, pictures under the Copernicus terms.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np

from mtp_hf.dataset_scripts._builder import FilesBuilder, FilesConfig
from mtp_hf.dataset_scripts._change_maps import encode_png, read_change_map
from mtp_hf.dataset_scripts._files import index_files
from mtp_hf.dataset_scripts._oscd_files import City, find_cities
from mtp_hf.dataset_scripts._rasters import Raster, stretch_to_uint8
from mtp_hf.dataset_scripts._readers import AnnotationError, read_image_size
from mtp_hf.dataset_scripts._tiled import TilesConfig, cut_pair
from mtp_hf.dataset_scripts._tiling import grid_windows
from mtp_hf.dataset_scripts.features import change_features

# The order of the 13-band files of EuroSAT too.
OSCD_BANDS = tuple(f"B{number:02d}" for number in range(1, 13)) + ("B8A",)
RGB_BANDS = ("B04", "B03", "B02")
BAND_SUFFIXES = (".tif", ".tiff")
DATES = {"image": "imgs_1_rect", "image_post": "imgs_2_rect"}
PREVIEWS = {"image": "img1.png", "image_post": "img2.png"}
# Digital numbers, or percentiles.
STRETCH_RANGES = {"fixed": (0.0, 2750.0), "percentile": (2.0, 98.0)}


@dataclass
class OscdConfig(FilesConfig):
    """Options of OSCD.

    Attributes:
        stretch: how the 16 bits of `rgb` become 8: `fixed` or `percentile`.
        stretch_range: digital numbers, or percentiles, that become 0 and 255; None for those of
            `STRETCH_RANGES`.
    """

    stretch: str = "fixed"
    stretch_range: tuple[float, float] | None = None

    @property
    def source(self) -> str:
        """`rgb`, `pair` or `all_bands`."""
        return self.name.removesuffix("_tiles")

    def check_options(self) -> None:
        """Refuse a stretch that means nothing."""
        super().check_options()
        if self.stretch not in STRETCH_RANGES:
            raise ValueError(f"stretch={self.stretch!r}; expected one of {list(STRETCH_RANGES)}")
        if self.stretch_range is not None and len(self.stretch_range) != 2:
            raise ValueError(f"stretch_range={self.stretch_range}; expected two numbers")
        low, high = self.resolved_range()
        highest = 100 if self.stretch == "percentile" else 65535
        if not 0 <= low < high <= highest:
            raise ValueError(
                f"stretch_range={(low, high)}; expected two growing numbers of 0 to {highest}"
            )

    def resolved_range(self) -> tuple[float, float]:
        """The range, or that of the stretch."""
        return STRETCH_RANGES[self.stretch] if self.stretch_range is None else self.stretch_range


@dataclass
class OscdTilesConfig(OscdConfig, TilesConfig):
    """Options of tiles of OSCD."""

    tile_size: int = 96


def oscd_band_features() -> datasets.Features:
    """Columns of `all_bands`: those of a change pair, with lists of pictures of one band."""
    bands = datasets.List(datasets.Image())
    return datasets.Features(change_features() | {"image": bands, "image_post": bands})


class Oscd(FilesBuilder):
    """Cities with two dates and a map of what changed."""

    BUILDER_CONFIG_CLASS = OscdConfig
    BUILDER_CONFIGS: ClassVar = [
        OscdConfig(name="rgb", description="bands B04, B03, B02, stretched to 8 bits"),
        OscdConfig(name="pair", description="the 8-bit previews"),
        OscdConfig(name="all_bands", description="13 bands of 16 bits"),
        OscdTilesConfig(name="rgb_tiles", description="tiles of 96 pixels of `rgb`"),
        OscdTilesConfig(name="pair_tiles", description="tiles of 96 pixels of the previews"),
    ]
    DEFAULT_CONFIG_NAME = "rgb"

    def _info(self) -> datasets.DatasetInfo:
        is_all = self.config.name == "all_bands"
        columns = change_features(tiled=isinstance(self.config, TilesConfig))
        return datasets.DatasetInfo(features=oscd_band_features() if is_all else columns)

    def find_records(self, root: Path) -> dict[str, Sequence[City]]:
        """Cities of each split."""
        return find_cities(root)

    def read_record(self, record: City) -> Iterator[tuple[str, dict[str, Any]]]:
        """Row of one city, or the rows of its tiles."""
        try:
            files, size = self._find_files(record)
            change_map = self._read_map(record, size)
            if isinstance(self.config, TilesConfig):
                pixels = {name: self._read_pixels(paths) for name, paths in files.items()}
                windows = grid_windows(*size, tile_size=self.config.tile_size)
                yield from cut_pair(record.image_id, pixels, change_map, windows)
                return
            row = {name: self._picture(record, name, paths) for name, paths in files.items()}
        except FileNotFoundError as error:
            raise AnnotationError(
                f"city {record.image_id!r}: {error}; expected the pictures of both dates and"
                f" the map for config {self.config.name!r}"
            ) from None
        mask = None
        if change_map is not None:
            mask = {"path": f"{record.image_id}.png", "bytes": encode_png(change_map)}
        row |= {"image_id": record.image_id, "mask": mask, "height": size[0], "width": size[1]}
        yield record.image_id, row

    def _find_files(self, city: City) -> tuple[dict[str, list[str]], tuple[int, int]]:
        """Files of both picture columns, and their common height and width."""
        folder = Path(city.folder)
        if self.config.source == "pair":
            files = {name: [folder / "pair" / preview] for name, preview in PREVIEWS.items()}
        else:
            bands = OSCD_BANDS if self.config.source == "all_bands" else RGB_BANDS
            files = {name: _band_files(folder / date, bands) for name, date in DATES.items()}
        size = _common_size([file for of_date in files.values() for file in of_date], self.config)
        return {name: [str(file) for file in of_date] for name, of_date in files.items()}, size

    def _picture(self, city: City, name: str, files: list[str]) -> Any:
        """Value of a picture column."""
        if self.config.source == "all_bands":
            return files
        if self.config.source == "pair":
            return files[0]
        content = encode_png(read_rgb(files, self.config))
        return {"path": f"{city.image_id}_{name}.png", "bytes": content}

    def _read_pixels(self, files: list[str]) -> np.ndarray:
        if self.config.source == "rgb":
            return read_rgb(files, self.config)
        with Raster(files[0], max_pixels=self.config.max_pixels) as raster:
            return raster.read_rgb()

    def _read_map(self, city: City, size: tuple[int, int]) -> np.ndarray | None:
        if city.change_map is None:
            return None
        change_map = read_change_map(
            city.change_map,
            is_one_unchanged=city.is_one_unchanged,
            max_pixels=self.config.max_pixels,
        )
        if change_map.shape != size:
            raise AnnotationError(_sizes_differ(city.change_map, change_map.shape, size))
        return change_map


def read_rgb(files: list[str], config: OscdConfig) -> np.ndarray:
    """Picture (H, W, 3) of 8 bits from three files of one band.

    Raises:
        AnnotationError: a file is damaged, or has more bands or another type.
    """
    bands = []
    for file in files:
        with Raster(file, max_pixels=config.max_pixels) as raster:
            if (raster.num_bands, raster.dtype) != (1, np.uint16):
                raise AnnotationError(
                    f"{file}: {raster.num_bands} bands of type {raster.dtype}; expected one of"
                    " uint16"
                )
            bands.append(raster.read())
    pixels = np.concatenate(bands, axis=2)  # 3 x (H, W, 1) -> (H, W, 3)
    low, high = config.resolved_range()
    if config.stretch == "percentile":
        low, high = np.percentile(pixels, (low, high))
    return stretch_to_uint8(pixels, low, high)


def _band_files(folder: Path, bands: Sequence[str]) -> list[Path]:
    """Files of some bands, whatever the case of their names."""
    found = index_files((str(folder),), BAND_SUFFIXES) if folder.is_dir() else {}
    paths = {stem.upper(): Path(path) for stem, path in found.items()}
    return [paths.get(band, folder / f"{band}{BAND_SUFFIXES[0]}") for band in bands]


def _common_size(files: list[Path], config: OscdConfig) -> tuple[int, int]:
    size = read_image_size(files[0], config.max_pixels)
    for file in files[1:]:
        if (found := read_image_size(file, config.max_pixels)) != size:
            raise AnnotationError(_sizes_differ(str(file), found, size))
    return size


def _sizes_differ(file: str, found: tuple[int, ...], expected: tuple[int, int]) -> str:
    return (
        f"{file}: {found[0]} x {found[1]} pixels; expected {expected[0]} x {expected[1]}"
        " (height x width), the size of the other files of the city"
    )
