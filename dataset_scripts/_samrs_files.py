"""Write the files of a SAMRS set made of rotated boxes, tile by tile and safe against interruption.

    images/<id>.png                        the tile
    rbbtxts/<id>.txt                       x1 y1 ... x4 y4 name label
    rhbox_segs_init/gray/<id>.png          class numbers, 255 = background
    rhbox_segs_init/ins/<id>.json          instances, keys as of the published pickles
    train.txt  valid.txt                   ids
    sota_rbb_{train,valid}_ins_segmentation.json   COCO, what the builder `samrs` reads

The instances of a tile are written last, so a tile that has them is whole; every file appears under
its name only when it is whole. In place of pickles there is JSON, which runs no code.

Source: SAMRS generation scripts (file formats, later objects overwrite earlier ones in the map) and
the published pretraining code (COCO files: ids from 0).
"""

import contextlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._rle import encode_mask, measure_runs, rle_runs

BACKGROUND = 255
MASK_FOLDER = "rhbox_segs_init"
LIST_FILES = {"train": "train.txt", "validation": "valid.txt"}
INSTANCE_FILES = {
    "train": "sota_rbb_train_ins_segmentation.json",
    "validation": "sota_rbb_valid_ins_segmentation.json",
}
DIGITS = 3  # of a coordinate in pixels


class MaskedObject(NamedTuple):
    """One object of a tile: polygon x1 y1 ... x4 y4, the box (xyxy) that was asked with, mask."""

    name: str
    label: int
    polygon: list[float]
    prompt: list[float]
    mask: np.ndarray
    score: float


class SamrsFiles:
    """Folder of one set.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        for name in ("images", "rbbtxts", f"{MASK_FOLDER}/gray", f"{MASK_FOLDER}/ins"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def has_tile(self, tile_id: str) -> bool:
        """Whether a tile is whole."""
        return self._instances(tile_id).is_file()

    def write_tile(self, tile_id: str, image: Any, objects: Iterable[MaskedObject]) -> None:
        """Write the files of a tile.

        Args:
            tile_id: stem of the files.
            image: picture of PIL, or the bytes of a PNG.
            objects: in the order of the annotation; masks have the size of the picture.
        """
        gray: np.ndarray | None = None
        lines, instances = [], []
        for found in objects:
            if gray is None:
                gray = np.full(found.mask.shape, BACKGROUND, np.uint8)
            gray[found.mask] = found.label
            polygon = [round(value, DIGITS) for value in found.polygon]
            lines.append(f"{' '.join(map(str, polygon))} {found.name} {found.label}\n")
            instances.append(
                {
                    "mask": encode_mask(found.mask),
                    "rbox": [polygon[i : i + 2] for i in range(0, 8, 2)],
                    "rhbox": [round(value, DIGITS) for value in found.prompt],
                    "category": found.name,
                    "label": found.label,
                    "size": int(found.mask.sum()),
                    "score": round(found.score, DIGITS),
                }
            )
        if gray is None:
            raise ValueError(f"tile {tile_id!r}: no object; expected tiles with objects only")
        self._write(f"images/{tile_id}.png", image if isinstance(image, bytes) else _png(image))
        self._write(f"rbbtxts/{tile_id}.txt", "".join(lines).encode())
        self._write(f"{MASK_FOLDER}/gray/{tile_id}.png", _png(Image.fromarray(gray)))
        self._write(f"{MASK_FOLDER}/ins/{tile_id}.json", json.dumps(instances).encode())

    def write_lists(self, splits: dict[str, list[str]], class_names: list[str]) -> None:
        """Write the lists and the COCO files of finished tiles."""
        for split, tile_ids in splits.items():
            self._write(LIST_FILES[split], "".join(f"{tile_id}\n" for tile_id in tile_ids).encode())
            with self._replace(self.folder / INSTANCE_FILES[split]) as file:
                self._write_coco(file, tile_ids, class_names)

    def _write_coco(self, file: IO[bytes], tile_ids: list[str], class_names: list[str]) -> None:
        """One entry a line; a file of a whole set would not be held in memory."""
        categories = [{"id": label, "name": name} for label, name in enumerate(class_names)]
        file.write(b'{"categories": ' + json.dumps(categories).encode() + b',\n"images": [')
        for number, tile_id in enumerate(tile_ids):
            with Image.open(self.folder / "images" / f"{tile_id}.png") as image:
                width, height = image.size
            entry = {
                "id": number,
                "file_name": f"{tile_id}.png",
                "height": height,
                "width": width,
                "segm_file": f"{tile_id}.png",
            }
            file.write((b",\n" if number else b"\n") + json.dumps(entry).encode())
        file.write(b'],\n"annotations": [')
        for number, entry in enumerate(self._annotations(tile_ids)):
            file.write((b",\n" if number else b"\n") + json.dumps({"id": number} | entry).encode())
        file.write(b"]}\n")

    def _annotations(self, tile_ids: list[str]) -> Iterator[dict[str, Any]]:
        for image_id, tile_id in enumerate(tile_ids):
            path = self._instances(tile_id)
            try:
                instances = json.loads(path.read_bytes())
            except ValueError as error:
                raise AnnotationError(
                    f"{path}: damaged ({error}); delete it to have the tile made again"
                ) from None
            for instance in instances:
                mask = instance["mask"]
                area, box = measure_runs(rle_runs(mask["counts"], mask["size"]), mask["size"][0])
                yield {
                    "image_id": image_id,
                    "category_id": instance["label"],
                    "bbox": box,
                    "area": area,
                    "segmentation": mask,
                    "iscrowd": 0,
                    **{key: instance[key] for key in ("rbox", "rhbox", "score")},
                }

    def _instances(self, tile_id: str) -> Path:
        return self.folder / MASK_FOLDER / "ins" / f"{tile_id}.json"

    def _write(self, name: str, content: bytes) -> None:
        with self._replace(self.folder / name) as file:
            file.write(content)

    @staticmethod
    @contextlib.contextmanager
    def _replace(path: Path) -> Iterator[IO[bytes]]:
        """A file that takes its name when it is whole; processes have different unfinished ones."""
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with open(unfinished, "wb") as file:
                yield file
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
