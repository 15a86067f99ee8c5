"""Files of the original scripts, from tiny copies of the sets."""

import json
import shutil

import numpy as np
import pytest
import rasterio
from PIL import Image

from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.datasets_command.original_exports import (
    export_dior_coco,
    export_loveda_labels,
    export_samrs_coco,
    export_spacenet_labels,
    export_spacenet_masks,
    export_xview_coco,
)
from mtp_hf.datasets_command.source import parse_source
from tests.fakes import mask_folder, write_samrs_by_hand
from tests.fakes_detection import BOXES, write_dior, write_xview
from tests.fakes_segmentation import write_spacenet


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_samrs_instances_are_written_under_the_names_that_the_loaders_look_for(tmp_path, out):
    write_samrs_by_hand(tmp_path / "raw", "sior")
    lines = list(export_samrs_coco(parse_source("samrs/sior", tmp_path / "raw"), out))
    assert [line.rpartition("/")[2] for line in lines] == [
        "sior_train_ins_segmentation.json: 2 images, 2 objects",
        "sior_valid_ins_segmentation.json: 1 images, 1 objects",
    ]


def test_the_builder_reads_the_same_instances_from_json_as_from_pickles(tmp_path, out):
    folder = write_samrs_by_hand(tmp_path / "raw", "sota_rbb")
    options = {"data_dir": tmp_path / "raw", "split": "train", "cache_dir": tmp_path / "cache"}
    before = load_dataset("samrs", "sota_rbb", **options, quiet=True)["objects"][:]
    list(export_samrs_coco(parse_source("samrs/sota_rbb", tmp_path / "raw"), out))
    shutil.rmtree(mask_folder(folder, "sota_rbb") / "ins")
    for path in out.iterdir():
        path.rename(folder / path.name)
    after = load_dataset("samrs", "sota_rbb", **options, quiet=True)["objects"][:]
    for objects in (*before, *after):
        del objects["prompt_bbox"]  # a COCO file has no place for it
    assert before == after


def test_dior_is_joined_to_trainval_with_boxes_as_annotated(tmp_path, out):
    source = parse_source("dior/hbb", write_dior(tmp_path / "raw"))
    list(export_dior_coco(source, out))
    trainval = json.loads((out / "DIOR_trainval_coco.json").read_text())
    assert [image["file_name"] for image in trainval["images"]] == ["00001.jpg", "00002.jpg"]
    assert [found["bbox"] for found in trainval["annotations"]] == [
        [x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in BOXES
    ]
    assert [found["category_id"] for found in trainval["annotations"]] == [6, 8]
    assert trainval["categories"][6]["name"] == "expressway-service-area"
    test = json.loads((out / "DIOR_test_coco.json").read_text())
    assert [image["file_name"] for image in test["images"]] == ["00003.jpg"]
    assert [(found["id"], found["image_id"]) for found in test["annotations"]] == [(0, 0)]


def test_images_of_dior_are_numbered_in_the_order_of_the_lists(tmp_path, out):
    raw = write_dior(tmp_path / "raw")
    (raw / "ImageSets/Main/trainval.txt").write_text("00002\n00001\n")
    list(export_dior_coco(parse_source("dior/hbb", raw), out))
    trainval = json.loads((out / "DIOR_trainval_coco.json").read_text())
    assert [(image["id"], image["file_name"]) for image in trainval["images"]] == [
        (0, "00002.jpg"),
        (1, "00001.jpg"),
    ]


def test_images_of_samrs_are_numbered_in_the_order_of_the_lists(tmp_path, out):
    folder = write_samrs_by_hand(tmp_path / "raw", "fast")
    lines = (folder / "train.txt").read_text().splitlines()[::-1]
    assert lines != sorted(lines)
    (folder / "train.txt").write_text("\n".join(lines))
    list(export_samrs_coco(parse_source("samrs/fast", tmp_path / "raw"), out))
    images = json.loads((out / "fast_train_ins_segmentation.json").read_text())["images"]
    assert [image["file_name"].partition(".")[0] for image in images] == lines


@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_broken_record_is_left_out_and_named_on_demand(tmp_path, out, num_proc):
    raw = write_dior(tmp_path / "raw")
    next(raw.rglob("Horizontal*/00001.xml")).write_text("<annotation>")
    source = parse_source("dior/hbb", raw, on_error="skip")
    lines = list(export_dior_coco(source, out, num_proc))
    assert lines[0].endswith("DIOR_trainval_coco.json: 1 images, 0 objects")
    assert lines[1].startswith("left out: ") and "00001.xml" in lines[1]


def test_xview_tiles_are_written_beside_their_json(tmp_path, out):
    source = parse_source("xview/all_tiles", write_xview(tmp_path / "raw"), num_train=6)
    lines = list(export_xview_coco(source, out))
    assert len(lines) == 2
    for name in ("train", "val"):
        content = json.loads((out / f"xview_{name}_coco_format.json").read_text())
        written = {path.name for path in (out / name / "images").iterdir()}
        assert {image["file_name"] for image in content["images"]} == written
        assert len(written) > 0
        with Image.open(out / name / "images" / min(written)) as tile:
            assert tile.size == (416, 416)
        assert len(content["categories"]) == 60


def test_maps_of_spacenet_are_georeferenced_as_its_pictures(tmp_path, out):
    raw = write_spacenet(tmp_path / "raw")
    source = parse_source("spacenet_v1", raw)
    assert list(export_spacenet_masks(source, out)) == [f"{out}: 7 maps"]
    for path in raw.rglob("3band_*.tif"):
        with rasterio.open(path) as image, rasterio.open(out / path.name) as mask:
            assert (mask.crs, mask.transform) == (image.crs, image.transform)
            assert (mask.count, mask.dtypes, mask.compression.name) == (1, ("uint8",), "lzw")
            number = int(path.stem.partition("img")[2])
            expected = 255 * number if number % 3 else 0
            assert int(mask.read().sum()) == expected


def test_labels_of_spacenet_are_zero_and_one(tmp_path, out):
    source = parse_source("spacenet_v1", write_spacenet(tmp_path / "raw"))
    assert list(export_spacenet_labels(source, out)) == [f"{out}: 7 maps"]
    sums = {path.name: int(np.asarray(Image.open(path)).sum()) for path in out.iterdir()}
    assert sums == {
        f"3band_AOI_1_RIO_img{number}.png": number if number % 3 else 0 for number in range(1, 8)
    }


def write_labels(folder, values):
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.uint8(values)).save(folder / "7.png")
    return folder


def test_labels_of_loveda_lose_one(tmp_path, out):
    folder = write_labels(tmp_path / "labels", [[1, 2, 3], [5, 6, 7]])
    assert list(export_loveda_labels(folder, out)) == [f"{out}: 1 maps"]
    assert np.asarray(Image.open(out / "7.png")).tolist() == [[0, 1, 2], [4, 5, 6]]


@pytest.mark.parametrize("value", [0, 8, 255])
def test_a_value_that_is_no_class_is_an_error(tmp_path, out, value):
    folder = write_labels(tmp_path / "labels", [[1, value]])
    with pytest.raises(ValueError, match=rf"7\.png: values \[{value}\]; expected 1 to 7"):
        list(export_loveda_labels(folder, out))
    assert list(out.iterdir()) == []


def test_maps_are_not_replaced_by_their_own_labels(tmp_path):
    folder = write_labels(tmp_path / "labels", [[1, 2]])
    with pytest.raises(ValueError, match="labels holds the maps that are read; expected another"):
        list(export_loveda_labels(folder, folder / ".." / "labels"))
    assert np.asarray(Image.open(folder / "7.png")).tolist() == [[1, 2]]


def test_nothing_is_written_if_one_map_is_wrong(tmp_path, out):
    folder = write_labels(tmp_path / "labels", [[1, 9]])
    Image.fromarray(np.uint8([[1, 2]])).save(folder / "1.png")
    with pytest.raises(ValueError, match=r"7\.png: values \[9\]"):
        list(export_loveda_labels(folder, out))
    assert list(out.iterdir()) == []


def test_a_folder_without_maps_and_a_map_of_colours_are_errors(tmp_path, out):
    with pytest.raises(FileNotFoundError, match="out: no png file; expected maps of 1 to 7"):
        list(export_loveda_labels(out, tmp_path))
    folder = write_labels(tmp_path / "labels", np.ones((2, 2, 3)))
    with pytest.raises(ValueError, match=r"7\.png: mode 'RGB'; expected 8-bit gray"):
        list(export_loveda_labels(folder, out))


def test_a_split_that_is_not_there_is_an_error(tmp_path, out):
    raw = write_dior(tmp_path / "raw")
    (raw / "ImageSets" / "Main" / "test.txt").unlink()
    shutil.rmtree(raw / "JPEGImages-test")
    with pytest.raises((ValueError, FileNotFoundError), match="test"):
        list(export_dior_coco(parse_source("dior/hbb", raw), out))
