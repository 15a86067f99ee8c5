"""What the preparation scripts of MTP make, from data sets as downloaded.

Differs: everything is checked on the way; splits that were drawn without a seed are drawn with one
(option `split_seed`); files that exist already are replaced, each at once.

Source: scripts of MTP for SAMRS pickles, DIOR, xView, SpaceNet and LoveDA.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mtp_hf.datasets_command.coco_export import picture_name, write_coco
from mtp_hf.datasets_command.conversion import replace_bytes
from mtp_hf.datasets_command.families import family_of
from mtp_hf.datasets_command.pictures import open_picture
from mtp_hf.datasets_command.source import Source, list_records

# Names of the splits in the files of the scripts -> the splits they hold.
SAMRS_SPLITS = {"train": ("train",), "valid": ("validation",)}
DIOR_SPLITS = {"trainval": ("train", "validation"), "test": ("test",)}
XVIEW_SPLITS = {"train": ("train",), "val": ("test",)}
LOVEDA_VALUES = range(1, 8)


def export_samrs_coco(source: Source, out: Path) -> Iterator[str]:
    """Instances of a SAMRS set as `<set>_{train,valid}_ins_segmentation.json`."""
    reader = Source("samrs", source.config, source.folder, source.options | {"tasks": ["is"]})
    for name, splits in SAMRS_SPLITS.items():
        path = out / f"{source.config}_{name}_ins_segmentation.json"
        yield write_coco(_rows(reader, splits), _class_names(reader), path)


def export_dior_coco(source: Source, out: Path) -> Iterator[str]:
    """Horizontal boxes of DIOR as `DIOR_{trainval,test}_coco.json`."""
    for name, splits in DIOR_SPLITS.items():
        path = out / f"DIOR_{name}_coco.json"
        yield write_coco(_rows(source, splits), _class_names(source), path)


def export_xview_coco(source: Source, out: Path) -> Iterator[str]:
    """Tiles of xView as `{train,val}/images/*.png` and `xview_{train,val}_coco_format.json`."""
    for name, splits in XVIEW_SPLITS.items():
        folder = out / name / "images"
        folder.mkdir(parents=True, exist_ok=True)
        path = out / f"xview_{name}_coco_format.json"
        yield write_coco(_written(_rows(source, splits), folder), _class_names(source), path)


def export_spacenet_masks(source: Source, out: Path) -> Iterator[str]:
    """Maps of SpaceNet, named as its pictures of three bands: 0 background, 1 building."""
    count = 0
    for row in _rows(source, ("train", "test")):
        replace_bytes(out / f"3band_{row['image_id']}.png", row["mask"]["bytes"])
        count += 1
    yield f"{out}: {count:,} maps"


def export_loveda_labels(folder: Path, out: Path) -> Iterator[str]:
    """Maps of 1 to 7 as those of 0 to 6 that the server of LoveDA takes.

    Raises:
        ValueError: a file that is no such map.
        FileNotFoundError: the folder holds no map.
    """
    files = sorted(folder.glob("*.png"))
    if not files:
        raise FileNotFoundError(f"{folder}: no png file; expected maps of 1 to 7")
    for file in tqdm(files, unit=" maps"):
        picture = open_picture(str(file))
        if picture.mode != "L":
            raise ValueError(f"{file}: mode {picture.mode!r}; expected 8-bit gray")
        values = np.asarray(picture)
        if wrong := sorted(set(np.unique(values).tolist()) - set(LOVEDA_VALUES)):
            raise ValueError(f"{file}: values {wrong}; expected 1 to 7")
        content = io.BytesIO()
        Image.fromarray(values - 1).save(content, "PNG")
        replace_bytes(out / file.name, content.getvalue())
    yield f"{out}: {len(files):,} maps"


def _rows(source: Source, splits: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of some splits, one after the other.

    Raises:
        ValueError: one of the splits is not there, or a record cannot be read.
    """
    builder = source.open()
    records, _ = list_records(builder)
    if missing := [split for split in splits if split not in records]:
        raise ValueError(f"{source}: no split {missing[0]!r}; found {list(records)}")
    chosen = [record for split in splits for record in records[split]]
    for record in tqdm(chosen, unit=" records", desc=" + ".join(splits)):
        for _, row in builder.read_record(record):
            yield row


def _written(rows: Iterator[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    for row in rows:
        replace_bytes(folder / picture_name(row), row["image"]["bytes"])
        yield row


def _class_names(source: Source) -> tuple[str, ...]:
    return family_of(source.open()).class_names
