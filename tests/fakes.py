"""Tiny copies of the datasets in their official layouts, written at test time.

`write_samrs` writes real-looking pictures (the demo generator); `write_samrs_by_hand` writes two
images whose every number is known, for exact assertions and for tests that then break a file.
"""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts._rle import encode_mask
from mtp_hf.dataset_scripts.demo import make_demo

SAMRS_FOLDERS = {
    "sior": "dior",
    "sota": "dotav2_1024/trainval",
    "sota_rbb": "dotav2_1024_rbb/trainval",
    "fast": "fair1m_1024/trainval",
}
HEIGHT, WIDTH = 40, 60
# Two objects of the first image of the hand-made sets: class name and label per set.
HAND_CLASSES = {
    "sior": (("ship", 13), ("airplane", 0)),
    "sota": (("ship", 5), ("plane", 4)),
    "sota_rbb": (("ship", 5), ("plane", 4)),
    "fast": (("Warship", 36), ("A220", 0)),
}
# x, y, width, height of the two masks, which are filled rectangles.
HAND_BOXES = ((10, 5, 20, 8), (35, 20, 12, 10))
HAND_POLYGONS = (
    (10.0, 5.0, 30.0, 5.0, 30.0, 13.0, 10.0, 13.0),
    (41.0, 18.5, 49.5, 25.0, 41.0, 31.5, 32.5, 25.0),
)


def write_samrs(root: Path, num_train: int = 4, num_validation: int = 2, size: int = 64) -> Path:
    """Three sets of small pictures; the third of every split has no object and no files."""
    return make_demo(root, num_train, num_validation, size, seed=1, empty_every=3)


def write_samrs_by_hand(root: Path, config: str) -> Path:
    """One set of three images under `root`; returns the folder of the set.

    `a` (train) has two objects, `b` (train) none and no annotation files, `c` (valid) one.
    """
    folder = Path(root, SAMRS_FOLDERS[config])
    for stem in "abc":
        write_image(folder, config, stem)
    write_annotations(folder, config, "a", (0, 1))
    write_annotations(folder, config, "c", (1,))
    (folder / "train.txt").write_text("a\nb\n")
    (folder / "valid.txt").write_text("c\n")
    return folder


def image_path(folder: Path, config: str, stem: str) -> Path:
    """Where a hand-made set keeps an image."""
    name = f"JPEGImages-trainval/{stem}.jpg" if config == "sior" else f"images/{stem}.png"
    return folder / name


def gray_path(folder: Path, config: str, stem: str) -> Path:
    """Where a hand-made set keeps a gray map."""
    return mask_folder(folder, config) / "gray" / f"{stem}.png"


def pickle_path(folder: Path, config: str, stem: str) -> Path:
    """Where a hand-made set keeps the instances of an image."""
    return mask_folder(folder, config) / "ins" / f"{stem}.pkl"


def box_path(folder: Path, config: str, stem: str) -> Path:
    """Where a hand-made set keeps the rotated boxes of an image."""
    if config == "sior":
        return folder / "Annotations/Oriented Bounding Boxes" / f"{stem}.xml"
    return folder / "rbbtxts" / f"{stem}.txt"


def mask_folder(folder: Path, config: str) -> Path:
    """Folder of `gray` and `ins`."""
    names = {"sior": "hbox_segs_trainvaltest_init", "sota": "hbox_segs_init"}
    return folder / names.get(config, "rhbox_segs_init")


def write_image(folder: Path, config: str, stem: str, size: tuple[int, int] = (WIDTH, HEIGHT)):
    """A picture of noise; `size` is (width, height) as in PIL."""
    path = image_path(folder, config, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_annotations(folder: Path, config: str, stem: str, objects: tuple[int, ...]) -> None:
    """Gray map, instance pickle and rotated boxes of some of the two hand-made objects."""
    gray = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for index in objects:
        gray[hand_mask(index)] = HAND_CLASSES[config][index][1]
    path = gray_path(folder, config, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gray).save(path)
    write_pickle(folder, config, stem, [hand_instance(config, index) for index in objects])
    if config != "sota":
        path = box_path(folder, config, stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(hand_boxes(config, objects))


def write_pickle(folder: Path, config: str, stem: str, instances: object) -> Path:
    """Write an instance pickle as the published scripts do."""
    path = pickle_path(folder, config, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(instances, protocol=4))
    return path


def hand_mask(index: int) -> np.ndarray:
    """Mask (H, W) of a hand-made object."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    x, y, width, height = HAND_BOXES[index]
    mask[y : y + height, x : x + width] = True
    return mask


def hand_instance(config: str, index: int) -> dict:
    """One entry of an instance pickle: horizontal or rotated variant."""
    name, label = HAND_CLASSES[config][index]
    x, y, width, height = HAND_BOXES[index]
    corners = [x, y, x + width, y + height]
    if config in ("sior", "sota"):
        box = {"bbox": np.array(corners, np.float32)}
    else:
        rbox = np.array(HAND_POLYGONS[index], np.float64).reshape(4, 2)
        box = {"rbox": rbox, "rhbox": np.array(corners, np.float64)}
    mask = encode_mask(hand_mask(index))
    return {"mask": mask, **box, "category": name, "label": label, "size": np.int64(width * height)}


def hand_boxes(config: str, objects: tuple[int, ...]) -> str:
    """Text or xml of rotated boxes; the text has CRLF line ends."""
    if config != "sior":
        lines = []
        for index in objects:
            name, label = HAND_CLASSES[config][index]
            lines.append(" ".join(map(str, HAND_POLYGONS[index])) + f" {name} {label}\r\n")
        return "".join(lines)
    corners = ("left_top", "right_top", "right_bottom", "left_bottom")
    nodes = []
    for index in objects:
        name = HAND_CLASSES[config][index][0].capitalize()  # published files mix cases
        points = zip(corners, np.reshape(HAND_POLYGONS[index], (4, 2)), strict=True)
        fields = "".join(f"<x_{c}>{x}</x_{c}><y_{c}>{y}</y_{c}>" for c, (x, y) in points)
        nodes.append(
            f"<object><type>robndbox</type><name>{name}</name><difficult>{index}</difficult>"
            f"<robndbox>{fields}</robndbox><angle>0</angle></object>"
        )
    return f"<annotation><filename>x.jpg</filename>{''.join(nodes)}</annotation>"
