"""Tiles of rotated objects ready for the model, memory while a huge image is cut, label files read.

Everything goes the way of a user: a folder in the layout of DOTA is written, `load_dataset` cuts
and caches it, and a worker reads rows, augments and batches them. Memory is that of a process of
its own that cuts one image of 20,000 x 20,000 pixels and prepares all its tiles.
"""

import functools
import itertools
import json
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from benchmarks.report import Row
from benchmarks.timing import use_threads
from mtp_hf.data.collate import Collate
from mtp_hf.data.multi_dataset import MultiDatasetBatchSampler, MultiSourceDataset, SourceDataset
from mtp_hf.data.samples import oriented_row_to_sample
from mtp_hf.data.transforms_detection import rotated_train_transforms
from mtp_hf.dataset_scripts.demo import DEMO_SETS, draw_image
from mtp_hf.dataset_scripts.loading import load_dataset, open_builder

THREADS = 1
TILE_SIZE = 1024
NUM_OBJECTS = 1000
ROWS_AT_ONCE = 500
# Layouts of a TIFF: blocks, and strips of a row, which is what most writers choose.
TILED = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "lzw"}
ROWS = {"tiled": False, "blockysize": 1}
# Prints the peak of resident memory in KB after the imports and at the end, and the seconds; the
# peak that `resource` tells would begin with that of the process that started this one.
CUT = """
import json, re, sys, time
from pathlib import Path
from mtp_hf.dataset_scripts.loading import load_dataset
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
start, before = time.perf_counter(), peak()
options = {"split": "train", "keep_empty": True, "quiet": True}
tiles = load_dataset("dota", "v2.0_tiles", data_dir=sys.argv[1], cache_dir=sys.argv[2], **options)
print(json.dumps([before, peak(), time.perf_counter() - start, len(tiles)]))
"""


def run(quick: bool) -> list[Row]:
    """Measure all three."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows = [_tiles_ready(root / "tiles", quick)]
        rows += [
            _memory(root / kind.replace(" ", "_"), kind, limit, quick)
            for kind, limit in (("tiled TIFF", 1000.0), ("TIFF of rows", 1000.0), ("PNG", 2500.0))
        ]
        return [*rows, _label_files(root / "labels", quick)]


def _tiles_ready(root: Path, quick: bool) -> Row:
    """Tiles a second in one worker, cached rows to padded batches of two."""
    num_images, num_tiles = (2, 4) if quick else (8, 96)
    side, num_objects = (128, 20) if quick else (TILE_SIZE, NUM_OBJECTS)
    for number in range(num_images):
        picture, _ = draw_image(
            [number], side, set(DEMO_SETS["sota_rbb"].kinds), scene_number=number
        )
        # Noise as of a sensor: a drawn picture alone would be decoded in half the time.
        noise = np.random.default_rng(number).normal(0, 4, (side, side, 3))
        pixels = (np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)
        _write_image(root, f"P{number}", num_objects, side)
        Image.fromarray(pixels).save(root / f"train/images/P{number}.png")
    table = load_dataset(
        "dota", "v2.0_tiles", data_dir=root, cache_dir=root / "cache", split="train",
        tile_size=side, overlap=0, quiet=True,
    )  # fmt: skip
    read = functools.partial(oriented_row_to_sample, dataset="dota", num_classes=18)
    source = SourceDataset("dota", table, read, rotated_train_transforms(side))
    dataset, collate = MultiSourceDataset({"dota": source}), Collate(side)
    batches = iter(MultiDatasetBatchSampler({"dota": len(source)}, {"dota": 2}, 10**6))
    with use_threads(THREADS):
        for keys in itertools.islice(batches, 2):
            collate([dataset[key] for key in keys])
        started = time.perf_counter()
        for keys in itertools.islice(batches, num_tiles // 2):
            collate([dataset[key] for key in keys])
        seconds = time.perf_counter() - started
    means = np.mean([len(row["objects"]["id"]) for row in table.remove_columns("image")])
    return Row(
        case=f"{side}-pixel tiles with objects, ready for the model",
        value=num_tiles / seconds,
        unit="tiles/s",
        at_least=12.0,
        note=f"one worker, {means:,.0f} objects a tile, {num_tiles} tiles, rotated by chance",
    )


def _memory(root: Path, kind: str, limit: float, quick: bool) -> Row:
    """Peak memory of a process that cuts one huge image."""
    side = 2048 if quick else 20_000
    _write_image(root, "P0", 100, side)
    path = root / f"train/images/P0.{'png' if kind == 'PNG' else 'tif'}"
    if kind == "PNG":
        _write_png(path, side)
    else:
        _write_tiff(path, side, TILED if kind == "tiled TIFF" else ROWS)
    command = [sys.executable, "-c", CUT, str(root), str(root / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, peak, seconds, num_tiles = json.loads(done.stdout.splitlines()[-1])
    return Row(
        case=f"peak memory, {side:,} x {side:,} RGB {kind} to tiles",
        value=peak * 1024 / 1e6,
        unit="MB",
        at_most=limit,
        note=f"{before * 1024 / 1e6:,.0f} MB of it after the imports; {num_tiles} tiles in"
        f" {seconds:.0f} s, {path.stat().st_size / 1e6:,.0f} MB on disk",
    )


def _label_files(root: Path, quick: bool) -> Row:
    """Seconds to list and read the annotations of many images, without the images."""
    num_files, num_objects = (20, 100) if quick else (10_000, 100)
    for number in range(num_files):
        _write_image(root, f"P{number:05d}", num_objects, TILE_SIZE)
        (root / f"train/images/P{number:05d}.png").touch()
    started = time.perf_counter()
    builder = open_builder("dota", "v2.0", data_dir=root, cache_dir=root / "cache")
    records = builder.find_records(root)["train"]
    found = sum(len(builder.read_annotations(record)["objects"]["id"]) for record in records)
    return Row(
        case=f"{num_files:,} label files of DOTA, listed and read",
        value=time.perf_counter() - started,
        unit="s",
        at_most=120.0,
        note=f"{found:,} objects, one process",
    )


def _write_image(root: Path, name: str, num_objects: int, side: int) -> None:
    """Folders of DOTA and a label file of small boxes at random angles; not the picture."""
    for folder in ("images", "labelTxt"):
        (root / "train" / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name) + side)
    centers = rng.uniform(side * 0.05, side * 0.95, (num_objects, 1, 2))
    angles = rng.uniform(0, np.pi, (num_objects, 1))
    long, short = (
        np.stack([np.cos(angles), np.sin(angles)], 2),
        np.stack([-np.sin(angles), np.cos(angles)], 2),
    )
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corners = centers + 10 * signs[:, :1] * long + 4 * signs[:, 1:] * short  # (N, 4, 2)
    lines = [" ".join(f"{v:.1f}" for v in c) + " ship 0" for c in corners.reshape(-1, 8)]
    text = "imagesource:GoogleEarth\r\ngsd:0.3\r\n" + "".join(f"{line}\r\n" for line in lines)
    (root / f"train/labelTxt/{name}.txt").write_text(text, newline="")


def _parts(side: int) -> Iterator[np.ndarray]:
    """Rows of a picture with texture, some hundred at a time."""
    rng = np.random.default_rng(0)
    shades = (np.arange(side) // 100 % 200).astype(np.uint8)[None, :, None]
    texture = shades + rng.integers(0, 40, (ROWS_AT_ONCE, side, 3), np.uint8)
    for start in range(0, side, ROWS_AT_ONCE):
        yield texture[: min(ROWS_AT_ONCE, side - start)]


def _write_tiff(path: Path, side: int, layout: dict[str, Any]) -> None:
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, **layout, interleave="pixel") as file:
            for number, part in enumerate(_parts(side)):
                window = rasterio.windows.Window(0, number * ROWS_AT_ONCE, side, len(part))
                file.write(part.transpose(2, 0, 1), window=window)


def _write_png(path: Path, side: int) -> None:
    """Pillow would need the whole picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(1)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)))
        for part in _parts(side):
            lines = np.zeros((len(part), 1 + 3 * side), np.uint8)  # filter 0, then the pixels
            lines[:, 1:] = part.reshape(len(part), -1)
            file.write(chunk(b"IDAT", packer.compress(lines.tobytes())))
        file.write(chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b""))
