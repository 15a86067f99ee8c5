"""Make SOTA-RBB, or a set like it: masks by Segment Anything from the rotated boxes of DOTA-2.0.

    mtp-hf make-sota-rbb DOTA SOTA_RBB --device cuda
    rows = load_dataset("samrs", "sota_rbb", data_dir="SOTA_RBB", split="train")

Tiles of 1024 pixels with an overlap of 200 are cut from train and val of DOTA-2.0; those without
objects are left out. The model is asked with the box around each rotated box. A run that was
interrupted goes on where it was; several runs can share the work (`--share 0/8` ... `7/8`), and the
one that finds all tiles finished writes the lists, 95 % train and 5 % valid.

Differs: the published set was made with the original code of SAM ViT-H, and its lists are drawn
otherwise.

Source: SAMRS (Wang et al. 2023) and its generation scripts; MTP (Wang et al. 2024) for SOTA-RBB.
"""

import argparse
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets.utils import logging, tqdm
from PIL import Image

from mtp_hf.dataset_scripts._builder import FilesBuilder
from mtp_hf.dataset_scripts._detection_rows import ClassNumbers
from mtp_hf.dataset_scripts._sam_masks import SamMasks
from mtp_hf.dataset_scripts._samrs_files import MaskedObject, SamrsFiles
from mtp_hf.dataset_scripts._splits import draw_split
from mtp_hf.dataset_scripts.class_names import SOTA_CLASSES
from mtp_hf.dataset_scripts.loading import open_builder

logger = logging.get_logger(__name__)

SAM = "facebook/sam-vit-huge"
SPLITS = ("train", "validation")
VALIDATION_SHARE = 0.05  # of SAMRS
SETTINGS_FILE = "made_with.json"
DONE_FOLDER = ".done"  # one file a finished image: the ids of its tiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("source", type=Path, help="folder of DOTA-2.0 (or of --dataset)")
    add("destination", type=Path, help="folder to write; one that exists is completed")
    add("--dataset", default="dota/v2.0_tiles", metavar="NAME/CONFIG",
        help="rotated boxes of the classes of DOTA-2.0 (default: %(default)s)")  # fmt: skip
    add("--model", default=SAM,
        help="SAM, SAM-HQ or SAM 2 on the Hub or in a folder (default: %(default)s)")  # fmt: skip
    add("--device", default="cpu", help="such as cuda or cuda:1 (default: %(default)s)")
    add("--boxes-per-batch", type=int, default=20, help="boxes at once (default: %(default)s)")
    add("--multimask", action="store_true",
        help="three masks a box, of which the best rated is taken; SAMRS decodes one")  # fmt: skip
    add("--share", type=parse_share, default=(0, 1), metavar="I/N",
        help="every N-th image from the I-th on, for several devices (default: 0/1)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the lists (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Make the tiles, and the lists when all are there.

    Raises:
        ValueError: something that the user can change; finished tiles stay.
    """
    if args.boxes_per_batch < 1:
        raise ValueError(f"--boxes-per-batch {args.boxes_per_batch}; expected 1 or more")
    name, _, config = args.dataset.partition("/")
    try:
        builder = open_builder(name, config or None, data_dir=args.source)
        _records(builder)  # what is missing shows before a model is loaded
        model = SamMasks(
            args.model,
            device=args.device,
            boxes_per_batch=args.boxes_per_batch,
            is_multimask=args.multimask,
        )
    except (OSError, RuntimeError, AssertionError) as error:
        # No folder, no checkpoint; no such device, which torch says with either of the others.
        raise ValueError(str(error)) from None
    settings = {"dataset": args.dataset, "model": args.model, "multimask": args.multimask}
    expect_same_settings(args.destination, settings)
    made = make_tiles(builder, model, args.destination, share=args.share)
    print(f"{args.destination}: {made} tiles made")
    splits = write_lists(builder, args.destination, seed=args.seed)
    if splits is None:
        print("Other shares are not finished; the last one writes the lists.")
    else:
        counts = ", ".join(f"{len(ids)} {split}" for split, ids in splits.items())
        print(f"All tiles are there: {counts}. Load them with load_dataset('samrs', 'sota_rbb').")


def parse_share(text: str) -> tuple[int, int]:
    """Read `I/N`.

    Raises:
        argparse.ArgumentTypeError: it is none, or I is not below N.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or int(found[1]) >= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r}; expected I/N with I from 0 to N - 1")
    return int(found[1]), int(found[2])


def expect_same_settings(destination: Path, settings: dict[str, Any]) -> None:
    """Write what a set is made with, or compare it: one set has the masks of one model.

    Raises:
        ValueError: the tiles that are there were made with something else.
    """
    file = destination / SETTINGS_FILE
    try:
        before = json.loads(file.read_text())
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings, indent=2) + "\n")
        return
    for name, value in settings.items():
        if before.get(name) != value:
            raise ValueError(
                f"{file}: {name} is {before.get(name)!r}, but {value!r} was asked for; expected "
                "the same, or another folder"
            )


def make_tiles(
    builder: FilesBuilder,
    model: SamMasks,
    destination: str | Path,
    *,
    share: tuple[int, int] = (0, 1),
) -> int:
    """Make the tiles of a share of the images that are not there yet.

    Args:
        builder: of a set with rotated boxes and the classes of DOTA.
        model: what is asked for the masks.
        destination: folder of the set.
        share: (i, n) for every n-th image from the i-th on.

    Returns:
        Number of tiles that were made.

    Raises:
        ValueError: the set has no rotated boxes, or a class that SOTA does not have.
        AnnotationError: a file cannot be right.
    """
    files, labels = SamrsFiles(destination), _sota_labels(builder)
    done = files.folder / DONE_FOLDER
    done.mkdir(exist_ok=True)
    made = 0
    for key, record in tqdm(_records(builder)[share[0] :: share[1]], unit="image"):
        if (done / key).is_file():
            continue
        tile_ids = []
        for tile_id, row in builder.read_record(record):
            if not row["objects"]["polygon"]:
                continue
            if not files.has_tile(tile_id):
                image, content = _open_picture(row["image"])
                objects = _masked_objects(row["objects"], image, labels, model)
                files.write_tile(tile_id, content or image, objects)
                made += 1
            tile_ids.append(tile_id)
        unfinished = done / f".{key}"
        unfinished.write_text(json.dumps(tile_ids))
        unfinished.replace(done / key)
    return made


def write_lists(
    builder: FilesBuilder, destination: str | Path, *, seed: int
) -> dict[str, list[str]] | None:
    """Write the lists and the COCO files if the tiles of all images are there.

    Returns:
        Ids of each split; None if images are missing.

    Raises:
        ValueError: two images have tiles of one id, or there are too few tiles to split.
    """
    done = Path(destination) / DONE_FOLDER
    keys = [key for key, _ in _records(builder)]
    if not all((done / key).is_file() for key in keys):
        return None
    tile_ids = [tile_id for key in keys for tile_id in json.loads((done / key).read_text())]
    num_validation = max(1, round(VALIDATION_SHARE * len(tile_ids)))
    sizes = {"train": len(tile_ids) - num_validation, "validation": num_validation}
    splits = draw_split(tile_ids, sizes, seed=seed)
    if len(splits) < len(sizes):
        raise ValueError(f"{destination}: {len(tile_ids)} tiles; expected two or more to split")
    SamrsFiles(destination).write_lists(splits, SOTA_CLASSES)
    return splits


def _records(builder: FilesBuilder) -> list[tuple[str, Any]]:
    """Images of both splits, each with a key that another run finds as well.

    Raises:
        ValueError: two images have one id, so their tiles would take each other's names.
    """
    splits = builder.find_records(builder.config.root())
    records = [record for split in SPLITS for record in splits.get(split, ())]
    found: dict[str, str] = {}
    for record in records:
        before = found.setdefault(record.image_id, record.image)
        if before != record.image:
            raise ValueError(
                f"{record.image}: image id {record.image_id!r} is also that of {before}; expected "
                "ids that differ over train and validation, as tiles are called after them"
            )
    return [(hashlib.sha256(repr(record).encode()).hexdigest()[:16], record) for record in records]


def _sota_labels(builder: FilesBuilder) -> list[tuple[str, int]]:
    """Name and number in SOTA of each class of the builder."""
    objects = (builder.info.features or {}).get("objects", {})
    if "polygon" not in objects:
        raise ValueError(f"data set {builder.name!r} has no rotated boxes; expected some")
    numbers = ClassNumbers(SOTA_CLASSES)
    labels = [
        numbers.of(name, f"data set {builder.name!r}") for name in objects["category"].feature.names
    ]
    return [(SOTA_CLASSES[label], label) for label in labels]


def _masked_objects(
    objects: dict[str, list], image: Image.Image, labels: list[tuple[str, int]], model: SamMasks
) -> Iterator[MaskedObject]:
    boxes = [[x, y, x + width, y + height] for x, y, width, height in objects["bbox"]]
    columns = objects["category"], objects["polygon"], boxes, model.find(image, boxes)
    for category, polygon, box, (mask, score) in zip(*columns, strict=True):
        yield MaskedObject(*labels[category], polygon, box, mask, score)


def _open_picture(value: Any) -> tuple[Image.Image, bytes | None]:
    """A tile as RGB, and its bytes where they are those of an RGB PNG."""
    content = Path(value).read_bytes() if isinstance(value, str) else value["bytes"]
    with Image.open(io.BytesIO(content)) as image:
        is_same = image.format == "PNG" and image.mode == "RGB"
        return image.convert("RGB"), content if is_same else None
