"""The columns of each family of tasks."""

import PIL.Image
import pytest
from datasets import Dataset, Features

from mtp_hf.dataset_scripts.features import (
    change_features,
    classification_features,
    detection_features,
    oriented_detection_features,
    segmentation_features,
)

NAMES = ["ship", "plane"]
COMMON = {"image_id", "image"}
ALL = {
    "classification": classification_features(NAMES),
    "detection": detection_features(NAMES),
    "oriented": oriented_detection_features(NAMES),
    "segmentation": segmentation_features(),
    "change": change_features(),
}


@pytest.mark.parametrize("family", ALL)
def test_every_schema_has_the_common_columns(family):
    assert set(ALL[family]) >= COMMON
    if family != "classification":
        assert set(ALL[family]) >= {"width", "height"}


@pytest.mark.parametrize("features", [detection_features, oriented_detection_features])
def test_tiles_add_where_they_lie_and_take_nothing(features):
    whole, tiled = features(NAMES), features(NAMES, tiled=True)
    assert set(tiled) - set(whole) == {"tile"}
    assert set(tiled["tile"]) == {"source_id", "x", "y", "size"}
    assert "tile" in change_features(tiled=True)


def test_oriented_objects_are_detection_objects_with_corners():
    plain, oriented = ALL["detection"]["objects"], ALL["oriented"]["objects"]
    assert set(oriented) - set(plain) == {"polygon", "difficult"}
    assert {name: oriented[name] for name in plain} == plain


def test_an_image_without_objects_survives_parquet(tmp_path):
    features = oriented_detection_features(NAMES)
    objects = {name: [] for name in features["objects"]}
    one = {
        "id": [7],
        "bbox": [[1.0, 2.0, 3.0, 4.0]],
        "category": [1],
        "area": [12.0],
        "iscrowd": [False],
        "polygon": [[1.0, 2.0, 4.0, 2.0, 4.0, 6.0, 1.0, 6.0]],
        "difficult": [2],
    }
    common = {"image": None, "width": 8, "height": 6, "image_source": None, "gsd": None}
    rows = [{"image_id": str(i), **common, "objects": o} for i, o in enumerate((objects, one))]
    file = tmp_path / "rows.parquet"
    Dataset.from_list(rows, features=features).to_parquet(file)
    again = Dataset.from_parquet(str(file), cache_dir=str(tmp_path))
    assert again.features == features
    assert list(again) == rows
    assert again.features["objects"]["category"].feature.names == NAMES


@pytest.mark.parametrize("family", ["detection", "oriented"])
@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA"])
def test_pictures_of_detection_are_decoded_as_rgb(family, mode, tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.new("L", (4, 3), 7).convert(mode).save(path)
    rows = Dataset.from_dict(
        {"image": [str(path)]}, features=Features({"image": ALL[family]["image"]})
    )
    assert (rows[0]["image"].mode, rows[0]["image"].getpixel((1, 1))) == ("RGB", (7, 7, 7))
