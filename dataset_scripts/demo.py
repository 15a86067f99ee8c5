"""Write small made-up sets in the three SAMRS layouts, to try pretraining without a download.

    root = demo_root()                         # once per machine, in the Hugging Face cache
    rows = load_dataset("samrs", "sior", data_dir=root, split="train")  # as the real sets

Pictures, masks and boxes are computed: the mask of an object is its visible shape, its rotated box
comes from the pose it was drawn with. Image number i of a split is a function of the seed and i
alone, so the files are the same on every machine with the same Pillow.

Source: layouts and annotation formats of SAMRS, as in `_samrs_rows.py`.
"""

import hashlib
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts._demo_layout import DemoObject, Scene
from mtp_hf.dataset_scripts._demo_scenes import SCENES
from mtp_hf.dataset_scripts._rle import encode_mask
from mtp_hf.dataset_scripts.class_names import FAST_CLASSES, SIOR_CLASSES, SOTA_CLASSES

GENERATOR_VERSION = 3  # raise when pictures or annotations change
BACKGROUND = 255
JPEG_QUALITY = 93
PICKLE_PROTOCOL = 4  # as in the published files
XML_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")


@dataclass(frozen=True)
class _DemoSet:
    """One layout: where its files go and which class an object kind has in it."""

    folder: str
    class_names: list[str]
    kinds: dict[str, str]
    images: str
    masks: str
    suffix: str
    stem: str  # with {split} and {index}


DEMO_SETS = {
    "sior": _DemoSet(
        folder="dior",
        class_names=SIOR_CLASSES,
        kinds={
            "ship": "ship",
            "plane": "airplane",
            "tank": "storagetank",
            "court": "tenniscourt",
            "truck": "vehicle",
            "car": "vehicle",
        },
        images="JPEGImages-trainval",
        masks="hbox_segs_trainvaltest_init",
        suffix=".jpg",
        stem="{index:05d}",
    ),
    "sota_rbb": _DemoSet(
        folder="dotav2_1024_rbb/trainval",
        class_names=SOTA_CLASSES,
        kinds={
            "ship": "ship",
            "plane": "plane",
            "tank": "storage-tank",
            "court": "tennis-court",
            "truck": "large-vehicle",
        },
        images="images",
        masks="rhbox_segs_init",
        suffix=".png",
        stem="D{index:04d}_0000",
    ),
    "fast": _DemoSet(
        folder="fair1m_1024/trainval",
        class_names=FAST_CLASSES,
        kinds={
            "ship": "Dry-Cargo-Ship",
            "plane": "Boeing737",
            "court": "Tennis-Court",
            "truck": "Cargo-Truck",
        },
        images="images",
        masks="rhbox_segs_init",
        suffix=".png",
        stem="{split}_{index}_0000",
    ),
}


def make_demo(
    root: str | Path,
    num_train: int = 240,
    num_validation: int = 40,
    image_size: int = 128,
    seed: int = 0,
    *,
    empty_every: int = 32,
) -> Path:
    """Write the three sets under `root`.

    Args:
        root: folder that gets `dior`, `dotav2_1024_rbb` and `fair1m_1024`.
        num_train: images of each training split.
        num_validation: images of each validation split.
        image_size: side of the square pictures, in pixels.
        seed: of all pictures.
        empty_every: every so many images one has no object and hence no annotation file.

    Returns:
        `root`.
    """
    if min(num_train, num_validation) < 1 or image_size < 32:
        raise ValueError(
            f"num_train {num_train}, num_validation {num_validation}, image_size {image_size}; "
            "expected at least one image a split and 32 pixels"
        )
    for number, demo_set in enumerate(DEMO_SETS.values()):
        writer = _Writer(Path(root, demo_set.folder), demo_set)
        stems: dict[str, list[str]] = {"train": [], "valid": []}
        for split, count in (("train", num_train), ("valid", num_validation)):
            for i in range(count):
                index = i + 1 if split == "train" else num_train + i + 1
                stem = demo_set.stem.format(split=split, index=index)
                # Without kinds nothing is labelled: an image of ground and clutter only.
                kinds = set(demo_set.kinds) if index % empty_every else set()
                picture, found = draw_image(
                    [seed, number, index], image_size, kinds, scene_number=index
                )
                writer.write(stem, picture, found)
                stems[split].append(stem)
        for split, names in stems.items():
            (writer.folder / f"{split}.txt").write_text("\n".join(names) + "\n")
    return Path(root)


def draw_image(
    seed: list[int], size: int, kinds: set[str], *, scene_number: int
) -> tuple[Image.Image, list[DemoObject]]:
    """Draw one picture with at least one object of `kinds`; with none where that is empty."""
    for attempt in range(20):
        scene = Scene(np.random.default_rng([*seed, attempt]), size, kinds)
        SCENES[(scene_number + attempt) % len(SCENES)](scene)
        if scene.num_objects or not kinds:
            return scene.paint()
    raise RuntimeError(f"no scene of {size} pixels holds any of {sorted(kinds)}, seed {seed}")


def example_picture() -> Image.Image:
    """Draw a harbour of 256 pixels that anyone may use."""
    return draw_image([0, 0, 6], 256, {"ship"}, scene_number=6)[0]


def demo_root(
    num_train: int = 240,
    num_validation: int = 40,
    image_size: int = 128,
    seed: int = 0,
    cache_dir: str | Path | None = None,
) -> Path:
    """Folder of the demo sets in the Hugging Face cache, written on first use.

    Args:
        num_train: as in `make_demo`.
        num_validation: as in `make_demo`.
        image_size: as in `make_demo`.
        seed: as in `make_demo`.
        cache_dir: where to keep it; None for `$HF_HOME/mtp_hf`.
    """
    options = {
        "num_train": num_train,
        "num_validation": num_validation,
        "image_size": image_size,
        "seed": seed,
    }
    key = json.dumps(options | {"generator": GENERATOR_VERSION}, sort_keys=True)
    folder = Path(cache_dir) if cache_dir is not None else _hf_home() / "mtp_hf"
    target = folder / f"demo-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".demo-", dir=folder))
    try:
        make_demo(work / "demo", **options)
        (work / "demo" / "demo.json").write_text(key + "\n")
        (work / "demo").rename(target)
    except OSError:
        if not target.is_dir():  # else another process was first
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _hf_home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("HF_HOME", f"{cache}/huggingface")).expanduser()


class _Writer:
    """Write images and annotations of one set in its layout."""

    def __init__(self, folder: Path, demo_set: _DemoSet) -> None:
        self.folder, self.set = folder, demo_set
        self.is_dior = demo_set.folder == "dior"
        boxes = "Annotations/Oriented Bounding Boxes" if self.is_dior else "rbbtxts"
        self.boxes = folder / boxes
        self.gray = folder / demo_set.masks / "gray"
        self.instances = folder / demo_set.masks / "ins"
        for path in (folder / demo_set.images, self.boxes, self.gray, self.instances):
            path.mkdir(parents=True, exist_ok=True)

    def write(self, stem: str, picture: Image.Image, found: list[DemoObject]) -> None:
        """One image; without objects there is no annotation file, as in the published sets."""
        path = self.folder / self.set.images / (stem + self.set.suffix)
        picture.save(path, quality=JPEG_QUALITY)  # png has no quality
        if not found:
            return
        names = [self.set.kinds[item.kind] for item in found]
        labels = [self.set.class_names.index(name) for name in names]
        gray = np.full((picture.height, picture.width), BACKGROUND, np.uint8)
        for item, label in zip(found, labels, strict=True):
            gray[item.mask] = label  # later objects overwrite earlier ones
        Image.fromarray(gray).save(self.gray / f"{stem}.png")
        instances = [
            self._instance(item, name, label)
            for item, name, label in zip(found, names, labels, strict=True)
        ]
        with open(self.instances / f"{stem}.pkl", "wb") as file:
            pickle.dump(instances, file, protocol=PICKLE_PROTOCOL)
        if self.is_dior:
            text = _dior_xml(path.name, picture, found, names)
            (self.boxes / f"{stem}.xml").write_text(text)
        else:
            rows = zip(found, names, labels, strict=True)
            lines = [f"{_numbers(item.polygon)} {name} {label}\n" for item, name, label in rows]
            (self.boxes / f"{stem}.txt").write_text("".join(lines))

    def _instance(self, item: DemoObject, name: str, label: int) -> dict[str, Any]:
        hull = np.concatenate([item.polygon.min(axis=0), item.polygon.max(axis=0)])
        if self.is_dior:
            box: dict[str, Any] = {"bbox": hull.round().astype(np.float32)}
        else:
            box = {"rbox": item.polygon, "rhbox": hull}
        area = np.int64(item.mask.sum())
        return {
            "mask": encode_mask(item.mask),
            **box,
            "category": name,
            "label": label,
            "size": area,
        }


def _numbers(polygon: np.ndarray) -> str:
    return " ".join(f"{value:.2f}" for value in polygon.ravel())


def _dior_xml(
    file_name: str, picture: Image.Image, found: list[DemoObject], names: list[str]
) -> str:
    def lines() -> Iterator[str]:
        yield f"<annotation>\n\t<filename>{escape(file_name)}</filename>\n"
        yield f"\t<size>\n\t\t<width>{picture.width}</width>\n"
        yield f"\t\t<height>{picture.height}</height>\n"
        yield "\t\t<depth>3</depth>\n\t</size>\n\t<segmented>0</segmented>\n"
        for item, name in zip(found, names, strict=True):
            yield f"\t<object>\n\t\t<type>robndbox</type>\n\t\t<name>{escape(name)}</name>\n"
            yield "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<robndbox>\n"
            for corner, point in zip(XML_CORNERS, item.polygon, strict=True):
                for axis, value in zip("xy", point, strict=True):
                    yield f"\t\t\t<{axis}_{corner}>{value:.2f}</{axis}_{corner}>\n"
            yield "\t\t</robndbox>\n\t</object>\n"
        yield "</annotation>\n"

    return "".join(lines())
