"""What the preparation scripts of MTP make, from data sets as downloaded.

Images are numbered in the order of the published lists, as the scripts do.

Differs: everything is checked on the way; splits that were drawn without a seed are drawn with one
(option `split_seed`); tiles of xView are named by their place, as the rows are, so that predictions
can be put together (the scripts count them); files that exist already are replaced, each at once.

Source: scripts of MTP for SAMRS pickles, DIOR, xView, SpaceNet and LoveDA.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.io import MemoryFile
from tqdm import tqdm

from mtp_hf.dataset_scripts._change_maps import encode_png
from mtp_hf.dataset_scripts._files import walk_folders
from mtp_hf.dataset_scripts._footprints import Grid
from mtp_hf.dataset_scripts._readers import read_image_list
from mtp_hf.dataset_scripts.dior import find_lists
from mtp_hf.dataset_scripts.samrs import SamrsConfig
from mtp_hf.dataset_scripts.spacenet_v1 import read_grid
from mtp_hf.datasets_command.coco_export import picture_name, write_coco
from mtp_hf.datasets_command.conversion import replace_bytes
from mtp_hf.datasets_command.families import family_of
from mtp_hf.datasets_command.pictures import open_picture
from mtp_hf.datasets_command.processes import map_in_order
from mtp_hf.datasets_command.source import Source, list_records, read_rows

# Names of the splits in the files of the scripts -> the splits they hold.
SAMRS_SPLITS = {"train": ("train",), "valid": ("validation",)}
DIOR_SPLITS = {"trainval": ("train", "validation"), "test": ("test",)}
XVIEW_SPLITS = {"train": ("train",), "val": ("test",)}
SPACENET_SPLITS = ("train", "test")
BUILDING = 255
LOVEDA_VALUES = range(1, 8)


def export_samrs_coco(source: Source, out: Path, num_proc: int = 1) -> Iterator[str]:
    """Instances of a SAMRS set as `<set>_{train,valid}_ins_segmentation.json`."""
    reader = Source("samrs", source.config, source.folder, source.options | {"tasks": ["is"]})
    config = reader.open().config
    assert isinstance(config, SamrsConfig)
    lists = config.layout().lists
    for name, splits in SAMRS_SPLITS.items():
        path = out / f"{source.config}_{name}_ins_segmentation.json"
        rows = _Rows(reader, splits, num_proc, lists.get(splits[0]))
        yield write_coco(rows, _class_names(reader), path)
        yield from rows.left_out


def export_dior_coco(source: Source, out: Path, num_proc: int = 1) -> Iterator[str]:
    """Horizontal boxes of DIOR as `DIOR_{trainval,test}_coco.json`."""
    root = source.open().config.root()
    lists = find_lists([Path(folder) for folder in walk_folders(root)])
    for name, splits in DIOR_SPLITS.items():
        path = out / f"DIOR_{name}_coco.json"
        rows = _Rows(source, splits, num_proc, lists.get("both" if len(splits) > 1 else name))
        yield write_coco(rows, _class_names(source), path)
        yield from rows.left_out


def export_xview_coco(source: Source, out: Path, num_proc: int = 1) -> Iterator[str]:
    """Tiles of xView as `{train,val}/images/*.png` and `xview_{train,val}_coco_format.json`."""
    for name, splits in XVIEW_SPLITS.items():
        folder = out / name / "images"
        folder.mkdir(parents=True, exist_ok=True)
        path = out / f"xview_{name}_coco_format.json"
        rows = _Rows(source, splits, num_proc)
        yield write_coco(_written(rows, folder), _class_names(source), path)
        yield from rows.left_out


def export_spacenet_masks(source: Source, out: Path, num_proc: int = 1) -> Iterator[str]:
    """Maps of SpaceNet as GeoTIFFs named as its pictures: 0 background, 255 building."""
    rows = _Rows(source, SPACENET_SPLITS, num_proc)
    files = {record.image_id: record.image for record in rows.records}
    for row in rows:
        image = files[row["image_id"]]
        mask = np.asarray(open_picture(row["mask"])) * np.uint8(BUILDING)
        replace_bytes(out / Path(image).name, _geotiff(mask, read_grid(image)))
    yield f"{out}: {rows.num_read:,} maps"
    yield from rows.left_out


def export_spacenet_labels(source: Source, out: Path, num_proc: int = 1) -> Iterator[str]:
    """Maps of SpaceNet as the configs of MTP read them: png of 0 background, 1 building."""
    rows = _Rows(source, SPACENET_SPLITS, num_proc)
    for row in rows:
        replace_bytes(out / f"3band_{row['image_id']}.png", row["mask"]["bytes"])
    yield f"{out}: {rows.num_read:,} maps"
    yield from rows.left_out


def export_loveda_labels(folder: Path, out: Path) -> Iterator[str]:
    """Maps of 1 to 7 as those of 0 to 6 that the server of LoveDA takes.

    All are checked before the first is written.

    Raises:
        ValueError: a file that is no such map, or `out` is `folder`.
        FileNotFoundError: the folder holds no map.
    """
    if folder.resolve() == out.resolve():
        raise ValueError(f"{out} holds the maps that are read; expected another folder to write")
    files = sorted(folder.glob("*.png"))
    if not files:
        raise FileNotFoundError(f"{folder}: no png file; expected maps of 1 to 7")
    for file in tqdm(files, unit=" maps", desc="check"):
        _read_loveda_map(file)
    for file in tqdm(files, unit=" maps", desc="write"):
        replace_bytes(out / file.name, encode_png(_read_loveda_map(file) - np.uint8(1)))
    yield f"{out}: {len(files):,} maps"


def _read_loveda_map(file: Path) -> np.ndarray:
    picture = open_picture(str(file))
    if picture.mode != "L":
        raise ValueError(f"{file}: mode {picture.mode!r}; expected 8-bit gray")
    values = np.asarray(picture)
    if wrong := sorted(set(np.unique(values).tolist()) - set(LOVEDA_VALUES)):
        raise ValueError(f"{file}: values {wrong}; expected 1 to 7")
    return values


class _Rows:
    """Rows of some splits, one after the other.

    Args:
        source: the data set.
        splits: of it.
        num_proc: processes that read.
        listed: file whose order the records have; those it does not name come last.

    Attributes:
        records: of the splits.
        num_read: rows so far.
        left_out: lines about the records that were skipped.

    Raises:
        ValueError: one of the splits is not there; while rows are read, a record cannot be right.
    """

    def __init__(
        self,
        source: Source,
        splits: Sequence[str],
        num_proc: int,
        listed: str | Path | None = None,
    ) -> None:
        self.source, self.num_proc = source, num_proc
        self.about = " + ".join(splits)
        self.builder = source.open()
        records, _ = list_records(self.builder)
        if missing := [split for split in splits if split not in records]:
            raise ValueError(f"{source}: no split {missing[0]!r}; found {list(records)}")
        self.records = [record for split in splits for record in records[split]]
        if listed is not None:
            places = {stem: place for place, stem in enumerate(read_image_list(listed))}
            self.records.sort(key=lambda record: places.get(_stem(record), len(places)))
        self.num_read = 0
        self.left_out: list[str] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        read = map_in_order(
            read_rows, self.records, self.source, self.builder, num_proc=self.num_proc
        )
        for rows, reason in tqdm(read, total=len(self.records), unit=" records", desc=self.about):
            self.left_out += [f"left out: {reason}"] if reason is not None else []
            self.num_read += len(rows)
            yield from rows


def _stem(record: Any) -> str:
    return Path(record if isinstance(record, str) else record.image).stem


def _geotiff(mask: np.ndarray, grid: Grid) -> bytes:
    """File of a map (H, W) in longitude and latitude."""
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=grid.height, width=grid.width, count=1, dtype="uint8",
            compress="lzw", crs="EPSG:4326", transform=grid.transform,
        ) as file:  # fmt: skip
            file.write(mask, 1)
        return memory.read()


def _written(rows: Iterable[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    for row in rows:
        replace_bytes(folder / picture_name(row), row["image"]["bytes"])
        yield row


def _class_names(source: Source) -> tuple[str, ...]:
    return family_of(source.open()).class_names
