"""Claims about files for test servers."""

import io
import json
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mtp_hf.dataset_scripts.class_names import (
    DOTA_V1_CLASSES,
    DOTA_V2_CLASSES,
    FAST_CLASSES,
    LOVEDA_CLASSES,
)
from mtp_hf.datasets_command.coco_export import write_coco
from mtp_hf.submissions.coco_numbers import read_coco_numbers
from mtp_hf.submissions.writing import check_format, write_submission

NAMES = ["ship", "harbor"]
POLYGON = [10, 20, 30, 20.126, 30, 40, 10, 40]


def record(image_id="P0006", *objects, **other):
    return {
        "image_id": image_id,
        "file_name": f"{image_id}.png",
        "width": 100,
        "height": 80,
        "objects": list(objects),
        **other,
    }


def turned(label, score=0.123456789):
    return {"label": label, "score": score, "polygon": POLYGON}


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_dota_has_a_file_for_every_class_also_for_those_not_found(tmp_path):
    files = write_submission("dota", [record("P0006", turned(1))], DOTA_V1_CLASSES, tmp_path)
    assert [file.name for file in files] == ["dota_task1.zip", "dota_task2.zip"]
    found = members(files[0])
    assert set(found) == {f"Task1_{name}.txt" for name in DOTA_V1_CLASSES}
    assert [name for name, text in found.items() if text] == [f"Task1_{DOTA_V1_CLASSES[1]}.txt"]


def test_a_line_of_dota_is_image_score_and_corners_of_two_decimals(tmp_path):
    task1, task2 = write_submission("dota", [record("P0006", turned(0))], DOTA_V2_CLASSES, tmp_path)
    name = DOTA_V2_CLASSES[0]
    corners = "10.00 20.00 30.00 20.13 30.00 40.00 10.00 40.00"
    assert members(task1)[f"Task1_{name}.txt"] == f"P0006 0.123457 {corners}\n"
    assert members(task2)[f"Task2_{name}.txt"] == "P0006 0.123457 10.00 20.00 30.00 40.00\n"


def test_fair1m_has_a_file_for_every_image_with_official_names(tmp_path):
    labels = [FAST_CLASSES.index(name) for name in ("Dry-Cargo-Ship", "other-ship")]
    images = [record("7", *map(turned, labels)), record("8")]
    (path,) = write_submission("fair1m", images, FAST_CLASSES, tmp_path)
    found = members(path)
    assert sorted(found) == ["test/7.xml", "test/8.xml"]
    root = ElementTree.fromstring(found["test/7.xml"])
    names = [node.text for node in root.iterfind("objects/object/possibleresult/name")]
    assert names == ["Dry Cargo Ship", "other-ship"]
    assert root.findtext("objects/object/possibleresult/probability") == "0.123457"
    assert root.findtext("source/filename") == "7.png"
    assert (root.findtext("size/width"), root.findtext("size/height")) == ("100", "80")


def test_loveda_has_the_class_numbers_as_they_are(tmp_path):
    values = np.arange(7, dtype=np.uint8).reshape(1, 7)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = record("4191", map="a.png")
    (path,) = write_submission("loveda", [image], LOVEDA_CLASSES, tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["4191.png"]
        picture = Image.open(io.BytesIO(archive.read("4191.png")))
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == values.tolist()


def test_coco_results_have_boxes_of_corner_and_sides(tmp_path):
    found = {"label": 3, "score": 0.5, "bbox": [1, 2, 3, 4]}
    (path,) = write_submission("coco", [record("12", found)], ["a"] * 4, tmp_path)
    assert json.loads(path.read_text()) == [
        {"image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}
    ]


def test_equal_predictions_give_equal_files(tmp_path):
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files = write_submission(
            "dota", [record("P0006", turned(1))], DOTA_V1_CLASSES, tmp_path / name
        )
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]


def test_other_classes_are_refused_with_both_lists(tmp_path):
    with pytest.raises(ValueError, match=r"the model has the classes ship, car; expected plane"):
        write_submission("dota", [record()], ["ship", "car"], tmp_path)


def test_predictions_of_another_kind_are_refused_by_image(tmp_path):
    upright = {"label": 0, "score": 0.5, "bbox": [1, 2, 3, 4]}
    with pytest.raises(ValueError, match=r"image 'P0006' has no polygon"):
        write_submission("dota", [record("P0006", upright)], DOTA_V1_CLASSES, tmp_path)
    with pytest.raises(ValueError, match=r"image 'P0006' has no map"):
        write_submission("loveda", [record("P0006")], LOVEDA_CLASSES, tmp_path)


def test_images_in_coco_results_count_as_in_the_export_of_the_package(tmp_path, capsys):
    found = {"label": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}
    row = {"objects": {"bbox": []}, "height": 80, "width": 100}
    names = ["00003", "00012"]
    write_coco([{**row, "image": f"{name}.png"} for name in names], NAMES, tmp_path / "set.json")
    images = [record(name, found) for name in names]
    (path,) = write_submission("coco", images, NAMES, tmp_path)
    results = COCO(str(tmp_path / "set.json")).loadRes(str(path))
    assert results.loadImgs([1])[0]["file_name"] == "00012.png"
    assert [each["image_id"] for each in results.dataset["annotations"]] == [0, 1]


def test_numbers_in_coco_results_are_those_of_an_annotation_file(tmp_path):
    images = [{"id": 70, "file_name": "val/7.png"}, {"id": 5, "file_name": "val/5.png"}]
    categories = [{"id": 30, "name": "harbor"}, {"id": 20, "name": "Ship"}]
    content = {"images": images, "categories": categories, "annotations": []}
    (tmp_path / "set.json").write_text(json.dumps(content))
    found = {"label": 0, "score": 0.5, "bbox": [1, 2, 3, 4]}
    numbers = read_coco_numbers(tmp_path / "set.json")
    (path,) = write_submission("coco", [record("7", found)], ["ship"], tmp_path, numbers)
    (result,) = json.loads(path.read_text())
    assert (result["image_id"], result["category_id"]) == (70, 20)
    assert not (tmp_path / "coco_images.json").exists()


@pytest.mark.parametrize("kind", ["dota", "fair1m", "loveda"])
def test_two_images_of_one_name_are_refused(tmp_path, kind):
    classes = {"dota": DOTA_V1_CLASSES, "fair1m": FAST_CLASSES, "loveda": LOVEDA_CLASSES}[kind]
    images = [record(f"{split}_0", map="0.png", file_name="0.tif") for split in ("train", "valid")]
    with pytest.raises(ValueError, match=f"format {kind}: 2 images are called '0'"):
        write_submission(kind, images, classes, tmp_path)


@pytest.mark.parametrize(
    ("kind", "task"), [("coco", "scene_classification"), ("dota", "horizontal_detection")]
)
def test_a_model_of_another_task_is_refused(kind, task):
    with pytest.raises(ValueError, match=f"format {kind}: the model does {task}; expected"):
        check_format(kind, task, DOTA_V1_CLASSES)


def test_predictions_without_objects_are_refused_for_boxes(tmp_path):
    scene = {"image_id": "1", "file_name": "1.png", "label": 0, "scores": {"ship": 1.0}}
    with pytest.raises(ValueError, match="format coco: the prediction of image '1' has no bbox"):
        write_submission("coco", [scene], NAMES, tmp_path)
