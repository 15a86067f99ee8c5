"""Tiny copies of the sets of change pairs in their layouts, written at test time.

The pictures of a pair differ in one bright square, and the map marks exactly that square.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from mtp_hf.dataset_scripts.oscd import OSCD_BANDS, RGB_BANDS

SIZE = 32
# Top, left and side of the square that changes.
SQUARE = (8, 12, 10)
LEVIR_IDS = {
    "train": ["train_1", "train_2", "train_10"],
    "val": ["val_1"],
    "test": ["test_1", "test_2"],
}
OSCD_CITIES = {"paris": "Train", "saclay_e": "Train", "rio": "Test"}


def change_map(size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """Map (H, W) of 0 and 1 with the square."""
    changed = np.zeros(size, np.uint8)
    top, left, side = SQUARE
    changed[top : top + side, left : left + side] = 1
    return changed


def pictures(seed: int = 0, size: tuple[int, int] = (SIZE, SIZE)) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (H, W, 3) before and after."""
    before = np.random.default_rng(seed).integers(0, 128, (*size, 3), np.uint8)
    after = before.copy()
    after[change_map(size) == 1] = 250
    return before, after


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Write pixels in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 90} if path.suffix == ".jpg" else {}
    Image.fromarray(pixels).save(path, **options)


def write_pair(
    paths: tuple[Path, Path, Path], seed: int = 0, size: tuple[int, int] = (SIZE, SIZE)
) -> None:
    """Write before, after and a map of 0 and 255."""
    for path, pixels in zip(paths, (*pictures(seed, size), 255 * change_map(size)), strict=True):
        write_picture(path, pixels)


def write_pairs(
    folder: Path,
    stems: list[str],
    suffix: str = ".png",
    names: tuple[str, ...] = ("A", "B", "label"),
) -> None:
    """Write pairs into three folders."""
    for seed, stem in enumerate(stems):
        write_pair(tuple(folder / name / f"{stem}{suffix}" for name in names), seed)


def write_levir(root: Path, layout: str = "flat") -> Path:
    """LEVIR-CD with 3, 1 and 2 pairs; the three folders are called A, B and label.

    Args:
        root: folder of the set.
        layout: `flat` (the names tell the split), `split_first`, `split_last` or `list`, in which
            the names tell nothing.
    """
    for split, stems in LEVIR_IDS.items():
        if layout == "split_first":
            write_pairs(root / split, stems)
        elif layout == "split_last":
            write_pairs(root, stems, names=(f"A/{split}", f"B/{split}", f"label/{split}"))
        elif layout == "flat":
            write_pairs(root, stems)
        else:
            write_pairs(root, [f"x{stem}" for stem in stems])
            (root / "list").mkdir(exist_ok=True)
            text = "".join(f"x{stem}.png\r\n" for stem in stems)
            (root / "list" / f"{split}.txt").write_text(text, newline="")
    return root


def write_cdd(root: Path, label: str = "OUT") -> Path:
    """CDD with 3, 2 and 2 pairs of JPEGs; numbers start anew in each split."""
    for split, count in (("train", 3), ("val", 2), ("test", 2)):
        folder = root / "ChangeDetectionDataset" / "Real" / "subset" / split
        write_pairs(folder, [f"{i:05d}" for i in range(count)], ".jpg", ("A", "B", label))
    write_pairs(root / "ChangeDetectionDataset" / "Real" / "original", ["0"], ".jpg")
    synthetic = root / "ChangeDetectionDataset" / "Model" / "with_shift" / "train"
    write_pairs(synthetic, ["00000"], ".jpg", ("A", "B", label))
    return root


def write_oscd(root: Path, map_suffix: str = ".png") -> Path:
    """OSCD with the cities paris and saclay_e (train) and rio (test), of different sizes.

    Digital numbers are 10 times those of `pictures`; band k of the 13 has k - 1 more, but the three
    that make a picture.
    """
    images = root / "Onera Satellite Change Detection dataset - Images"
    for seed, (city, split) in enumerate(OSCD_CITIES.items()):
        size = (SIZE, SIZE + 8 * seed)
        for date, pixels in enumerate(pictures(seed, size), start=1):
            write_picture(images / city / "pair" / f"img{date}.png", pixels)
            for number, band in enumerate(OSCD_BANDS):
                channel = RGB_BANDS.index(band) if band in RGB_BANDS else 0
                values = 10 * pixels[..., channel].astype(np.uint16)
                values += 0 if band in RGB_BANDS else number
                write_picture(images / city / f"imgs_{date}_rect" / f"{band}.tif", values)
        folder = root / f"Onera Satellite Change Detection dataset - {split} Labels" / city / "cm"
        if map_suffix == ".png":
            write_picture(folder / "cm.png", 255 * change_map(size))
        else:
            write_picture(folder / f"{city}-cm.tif", 1 + change_map(size))
    (images / "train.txt").write_text("paris,saclay_e\n")
    (images / "test.txt").write_text("rio")
    return root


def write_whu_patches(root: Path, counts: dict[str, int]) -> Path:
    """Ready patches: `{split}/{A,B,label}` for each split, or without split folders for ""."""
    start = 0
    for split, count in counts.items():
        write_pairs(root / split, [f"{start + i:05d}" for i in range(count)])
        start += count
    return root


def write_whu_mosaic(root: Path, layout: str = "image") -> Path:
    """The whole pair, 64 x 96 pixels.

    Args:
        root: folder of the download.
        layout: `image` ({before,after}/image/x.tif), `beside` (x.tif and x_label.tif in {before,
            after}) or `areas` (the newer packing).
    """
    size = (64, 96)
    if layout == "areas":
        folder = root / "Building change detection dataset_add" / "1. The two-period image data"
        for area in ("train", "test"):
            inside = f"whole_image/{area}/image"
            paths = [folder / year / inside / f"{year}_{area}.tif" for year in ("2012", "2016")]
            write_pair((*paths, folder / "change_label" / area / "change_label.tif"), 0, size)
            for year in ("2012", "2016"):
                for part in ("image", "label"):
                    crop = folder / year / "splited_images" / area / part / "0_0.tif"
                    write_picture(crop, change_map())
        return root
    folder = root / "bcdd" / "two_period_data"
    inside, maps = ("image", "change_label") if layout == "image" else (".", "change label")
    names = ("before", "after")
    paths = [folder / name / inside / f"{name}.tif" for name in names]
    write_pair((*paths, folder / maps / "change_label.tif"), 0, size)
    for name in names:
        label = f"label/{name}.tif" if layout == "image" else f"{name}_label.tif"
        write_picture(folder / name / label, change_map(size))
    return root
