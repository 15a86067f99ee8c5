"""Images to predict: a folder of them, or a split of the recipe's data set; and their windows.

Images too large for the network are cut by the rule that cut the tiles of training (DOTA, FAIR1M:
sliding windows; xView: evenly spread ones), on the fly: one window at a time is read where the
format allows it.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Image as ImageFeature

from mtp_hf.data.samples import open_image
from mtp_hf.data.schema import RawSample
from mtp_hf.dataset_scripts import get_builder
from mtp_hf.dataset_scripts._rasters import Raster, Window
from mtp_hf.dataset_scripts._tiled import SlidingTilesConfig, TilesConfig
from mtp_hf.dataset_scripts._tiling import (
    DETECTION_BORDER,
    EVEN_BORDER,
    clip_window,
    even_windows,
    pad_tile,
    sliding_windows,
)
from mtp_hf.pipelines.picture_folders import SUFFIXES, index_pictures
from mtp_hf.pipelines.picture_input import read_picture
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.finetuning_data import open_rows
from mtp_hf.training.tile_evaluation import TILE_OPTIONS, TILES

PAIR_FOLDERS = {"image": "A", "image_post": "B"}
DETECTION = ("horizontal_detection", "rotated_detection")

Picture = str | Mapping[str, Any]  # path, or a column of a row


@dataclasses.dataclass(frozen=True)
class Source:
    """An image, or a pair of dates, by where it lies.

    Args:
        image_id: unique.
        pictures: `image`, and `image_post` of a pair.
    """

    image_id: str
    pictures: Mapping[str, Picture]

    @property
    def file_name(self) -> str:
        """Name of the (first) file."""
        picture = self.pictures["image"]
        path = picture if isinstance(picture, str) else picture.get("path")
        return Path(path).name if path else f"{self.image_id}.png"


@dataclasses.dataclass(frozen=True)
class WindowRule:
    """How images are cut.

    Args:
        size: side of a window at scale 1, in pixels.
        overlap: pixels that neighbours share; None spreads them evenly.
        scales: a window at scale r has the side `size / r`.
        min_image: as of `sliding_windows`.
    """

    size: int
    overlap: int | None = None
    scales: tuple[float, ...] = (1.0,)
    min_image: float = 0.6

    def windows(self, height: int, width: int) -> list[Window]:
        """Windows of an image."""
        if self.overlap is None:
            return even_windows(height, width, tile_size=self.size)
        return sliding_windows(
            height,
            width,
            tile_size=self.size,
            overlap=self.overlap,
            scales=self.scales,
            min_image=self.min_image,
        )

    @property
    def border(self) -> tuple[int, int, int]:
        """Colour of what a window has beyond the image."""
        return EVEN_BORDER if self.overlap is None else DETECTION_BORDER


def folder_sources(folder: Path, *, pairs: bool, leave_out: Path | None = None) -> list[Source]:
    """List the images of a folder and all below it, or the pairs of its subfolders `A` and `B`.

    Args:
        folder: of the user.
        pairs: of two dates.
        leave_out: folder that is not looked into, of results.

    Raises:
        ValueError: there is none, or a picture lacks its partner.
    """
    if not folder.is_dir():
        raise ValueError(f"--images={folder} is not a folder")
    if not pairs:
        found = index_pictures(folder, leave_out)
        if not found:
            raise ValueError(f"--images={folder} has no image ({', '.join(SUFFIXES)})")
        return [Source(name, {"image": path}) for name, path in found.items()]
    both = {}
    for key, name in PAIR_FOLDERS.items():
        if not (folder / name).is_dir():
            raise ValueError(f"--images={folder}: no folder {name}; expected A and B, two dates")
        both[key] = index_pictures(folder / name, leave_out)
    alone = sorted(both["image"].keys() ^ both["image_post"].keys())
    if alone or not both["image"]:
        which = f"{alone[0]!r} is in one of A and B only" if alone else "no image"
        raise ValueError(f"--images={folder}: {which}")
    return [Source(name, {key: both[key][name] for key in both}) for name in both["image"]]


def stem_of(source: Source) -> str:
    """Name of the map and of the picture of an image."""
    return source.image_id.replace("/", "_")


def check_stems(sources: Sequence[Source]) -> None:
    """Check that no result is written over another one.

    Raises:
        ValueError: two images would have files of one name.
    """
    seen: dict[str, str] = {}
    for source in sources:
        stem = stem_of(source)
        if stem in seen:
            raise ValueError(
                f"images {seen[stem]!r} and {source.image_id!r} would both be written as"
                f" {stem}.png; rename one"
            )
        seen[stem] = source.image_id


def split_sources(recipe: FinetuneRecipe) -> list[Source]:
    """List the whole images of the split that a recipe measures on."""
    config = (recipe.data.evaluate_config or recipe.data.config or "").removesuffix(TILES)
    options = {k: value for k, value in recipe.data.options.items() if k not in TILE_OPTIONS}
    data = dataclasses.replace(recipe.data, evaluate_config=config or None, options=options)
    rows = open_rows(dataclasses.replace(recipe, data=data), "validation")
    keys = [key for key in PAIR_FOLDERS if key in rows.features]
    for key in keys:
        rows = rows.cast_column(key, ImageFeature(decode=False))
    return [
        Source(str(row["image_id"]), {key: row[key] for key in keys})
        for row in rows.select_columns(["image_id", *keys])
    ]


def recipe_windows(recipe: FinetuneRecipe) -> WindowRule | None:
    """Return the rule that cut what a recipe trains on; None where images are whole."""
    config_name = recipe.data.config
    if config_name is None or recipe.task not in DETECTION:
        return None
    configs = get_builder(recipe.data.builder).builder_configs
    if config_name not in configs or not isinstance(configs[config_name], TilesConfig):
        return None
    config = dataclasses.replace(configs[config_name], **recipe.data.options)
    if isinstance(config, SlidingTilesConfig):
        scales = tuple(config.scales)
        return WindowRule(config.tile_size, config.overlap, scales, config.min_image)
    return WindowRule(config.tile_size)


@contextlib.contextmanager
def opened(
    source: Source, rule: WindowRule | None, dataset: str
) -> Iterator[tuple[tuple[int, int], Iterator[tuple[Window, RawSample]]]]:
    """Open an image and give its size and its windows.

    Args:
        source: see `Source`.
        rule: how it is cut; None: whole.
        dataset: name that samples carry.

    Yields:
        (height, width), and for each window its place and a sample of its pixels.

    Raises:
        ValueError: a picture cannot be read, or a pair has two sizes; the message names it.
    """
    with contextlib.ExitStack() as stack:
        readers: dict[str, Callable[[Window], np.ndarray]] = {}
        sizes = {}
        for key, picture in source.pictures.items():
            sizes[key], readers[key] = stack.enter_context(_reader(picture, source.image_id))
        if len(set(sizes.values())) > 1:
            raise ValueError(f"image {source.image_id!r}: the two dates have the sizes {sizes}")
        height, width = sizes["image"]
        windows = rule.windows(height, width) if rule else [Window(0, 0, width, height)]
        border = rule.border if rule else DETECTION_BORDER

        def samples() -> Iterator[tuple[Window, RawSample]]:
            for window in windows:
                sample: Any = {
                    "image_id": source.image_id,
                    "dataset": dataset,
                    "orig_size": (window.height, window.width),
                    "dropped": {},
                }
                for key, read in readers.items():
                    pixels = read(clip_window(window, height, width))
                    tile = np.ascontiguousarray(pad_tile(pixels, window, border))
                    sample[key] = torch.from_numpy(tile).permute(2, 0, 1)
                yield window, sample

        yield (height, width), samples()


@contextlib.contextmanager
def _reader(
    picture: Picture, image_id: str
) -> Iterator[tuple[tuple[int, int], Callable[[Window], np.ndarray]]]:
    path = picture if isinstance(picture, str) else picture.get("path")
    if path and Path(path).is_file():
        with Raster(path) as raster:
            yield (raster.height, raster.width), raster.read_rgb
        return
    try:
        pixels = np.asarray(read_picture(open_image(picture)))  # type: ignore[arg-type]
    except (OSError, ValueError) as error:
        raise ValueError(f"image {image_id!r} cannot be read: {error}") from None

    def read(window: Window) -> np.ndarray:
        return pixels[window.y : window.y + window.height, window.x : window.x + window.width]

    yield (pixels.shape[0], pixels.shape[1]), read
