"""Folders with text files as of DOTA: rows, classes, broken lines, real files."""

import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import oriented_detection_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_detection import write_text
from tests.fakes_own import POLYGONS, dota_lines, write_dota_folder


@pytest.fixture
def load(tmp_path):
    def load(root=None, **options):
        root = write_dota_folder(tmp_path / "mine") if root is None else root
        options = {"cache_dir": tmp_path / "cache", "quiet": True, **options}
        return load_dataset("dota_folder", data_dir=root, **options)

    return load


def test_rows_are_those_of_the_files(load):
    splits = load()
    assert splits.num_rows == {"train": 1, "validation": 1}
    assert splits["train"].features == oriented_detection_features(["harbor", "ship"])
    objects = splits["train"][0]["objects"]
    assert objects["polygon"] == [list(polygon) for polygon in POLYGONS]
    assert objects["category"] == [1, 0]
    assert objects["difficult"] == [0, 1]
    assert objects["area"] == [160, 126]


def test_the_header_tells_satellite_and_resolution(load, tmp_path):
    root = write_dota_folder(tmp_path / "mine")
    write_text(root / "train/labelTxt/a.txt", f"imagesource:GF\ngsd:0.5\n{dota_lines()}")
    row = load(root, split="train")[0]
    assert (row["image_source"], row["gsd"]) == ("GF", 0.5)


def test_a_broken_line_is_named(load, tmp_path):
    root = write_dota_folder(tmp_path / "mine")
    write_text(root / "val/labelTxt/a.txt", "1 2 3 4 5 6 7 ship 0\n")
    with pytest.raises(AnnotationError, match=r"val/labelTxt/a\.txt, line 1: the polygon has 3.5"):
        load(root)


def test_a_name_that_is_no_class_is_named(load):
    with pytest.raises(AnnotationError, match=r"line 2: class name 'harbor'; expected one of ship"):
        load(class_names=["ship"])


def test_streamed_rows_are_the_prepared_ones(load):
    streamed = [row["objects"] for row in load(split="train", streaming=True)]
    assert streamed == [row["objects"] for row in load(split="train")]


def test_real_files_are_read_as_ones_own(load, shared_dir):
    splits = load(shared_dir / "data/samples/dota")
    assert [len(splits[split][0]["objects"]["id"]) for split in splits] == [536, 64]
    names = splits["train"].features["objects"]["category"].feature.names
    assert names == ["harbor", "large-vehicle", "ship", "small-vehicle"]
