"""Claims about files for test servers."""

import io
import json
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts.class_names import (
    DOTA_V1_CLASSES,
    DOTA_V2_CLASSES,
    FAST_CLASSES,
    LOVEDA_CLASSES,
)
from mtp_hf.submissions.writing import hull_of, write_submission

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


def test_the_hull_of_corners_is_the_smallest_upright_box():
    assert hull_of([5, 0, 10, 5, 5, 11, 0, 5]) == [0, 0, 10, 11]


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
        {"image_id": 12, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}
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
