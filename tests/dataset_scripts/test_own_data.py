"""The functions that load one's own folders."""

import re
from pathlib import Path

import pytest

import mtp_hf
from mtp_hf.dataset_scripts import own_data
from tests.fakes_detection import write_picture, write_text
from tests.fakes_own import (
    class_map,
    coco_content,
    write_coco,
    write_dota_folder,
    write_json,
    write_mask,
    write_masks,
    write_voc,
    write_yolo,
    yolo_boxes,
    yolo_polygons,
)


def write_pairs(root):
    for role in ("A", "B"):
        write_picture(root / role / "a.png")
    write_mask(root / "label/a.png", (class_map() == 1) * 255)
    return root


def write_classes(root):
    write_picture(root / "ship/1.jpg")
    return root


@pytest.mark.parametrize(
    ("load", "format", "write", "column"),
    [
        ("load_detection_folder", ("coco",), write_coco, "objects"),
        ("load_detection_folder", ("voc",), write_voc, "objects"),
        ("load_detection_folder", ("yolo",), lambda r: write_yolo(r, yolo_boxes()), "objects"),
        ("load_oriented_detection_folder", ("dota",), write_dota_folder, "objects"),
        (
            "load_oriented_detection_folder",
            ("yolo_obb",),
            lambda r: write_yolo(r, yolo_polygons()),
            "objects",
        ),
        ("load_segmentation_folder", (), write_masks, "mask"),
        ("load_change_folder", (), write_pairs, "image_post"),
        ("load_classification_folder", (), write_classes, "label"),
    ],
)
def test_every_format_loads_with_its_columns(tmp_path, load, format, write, column):
    function = getattr(mtp_hf, load)
    assert function is getattr(own_data, load)
    root = write(tmp_path / "mine")
    rows = function(root, *format, split="train", cache_dir=tmp_path / "cache", quiet=True)
    assert rows[0][column] is not None


def test_a_format_of_the_other_function_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"format='dota'; expected one of \('coco', 'voc', 'yolo'"):
        own_data.load_detection_folder(tmp_path, "dota")


def test_an_unknown_option_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="'mask_folder' has no option 'colors'"):
        own_data.load_segmentation_folder(tmp_path, colors=3)


README = Path(__file__).resolve().parent.parent.parent / "README.md"


def test_the_lines_of_the_readme_load_its_folders(tmp_path, monkeypatch):
    section = README.read_text().split("## Your own images")[1].split("\n## ")[0]
    for split in ("train", "val"):
        write_picture(tmp_path / f"ships/{split}/0001.jpg")
        content = coco_content("a") | {"annotations": []}
        content["images"][0]["file_name"] = "0001.jpg"
        write_json(tmp_path / f"ships/annotations/instances_{split}.json", content)
        write_picture(tmp_path / f"harbours/images/{split}/0001.png")
        write_text(tmp_path / f"harbours/labels/{split}/0001.txt", yolo_polygons())
    yaml = "train: images/train\nval: images/val\nnames: [ship, harbor]\n"
    assert all(line in section for line in yaml.splitlines())
    write_text(tmp_path / "harbours/data.yaml", yaml)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    found = {}
    exec(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1], found)
    assert found["ships"].num_rows == {"train": 1, "validation": 1}
    assert found["harbours"].num_rows == {"train": 1, "validation": 1}
    assert len(found["harbours"]["train"][0]["objects"]["polygon"]) == 2
