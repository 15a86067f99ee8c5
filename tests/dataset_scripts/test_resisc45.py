"""NWPU-RESISC45: classes, the two splits, lists, layouts, broken files."""

import logging
from collections import Counter

import datasets
import numpy as np
import pytest

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.class_names import RESISC45_CLASSES
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.dataset_scripts.resisc45 import Resisc45
from tests.fakes_classification import write_lists, write_resisc45


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    return write_resisc45(tmp_path_factory.mktemp("resisc45"))


def load(root, tmp_path, config=None, **options):
    return load_dataset(
        "resisc45", config, data_dir=root, cache_dir=tmp_path / "cache", quiet=True, **options
    )


def test_classes_are_in_alphabetical_order():
    assert sorted(RESISC45_CLASSES) == RESISC45_CLASSES
    assert Resisc45(config_name="in_domain").info.features["label"].names == RESISC45_CLASSES


@pytest.mark.parametrize(
    ("config", "counts"),
    [
        (None, {"train": 1, "test": 4}),
        ("in_domain", {"train": 3, "validation": 1, "test": 1}),
    ],
)
def test_without_lists_every_class_is_divided_alike(fake, tmp_path, caplog, config, counts):
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        splits = load(fake, tmp_path, config)
    datasets.utils.logging.disable_propagation()
    assert list(splits) == list(counts)
    for split, rows in splits.items():
        assert Counter(rows["label"]) == dict.fromkeys(range(45), counts[split])
    assert "drawn with seed 0" in caplog.text
    assert not set(splits["train"]["image_id"]) & set(splits["test"]["image_id"])


def test_lists_of_mtp_with_labels_are_used_with_all_images_in_one_folder(tmp_path):
    write_resisc45(tmp_path, 2, flat=True)
    for n, name in ((1, "train_labels_28_mtp.txt"), (2, "valid_labels_28_mtp.txt")):
        lines = [f"{c}_{n:03d}.jpg {i}\n" for i, c in enumerate(RESISC45_CLASSES)]
        (tmp_path / name).write_text("".join(lines))
    splits = load(tmp_path, tmp_path)
    assert splits["train"]["image_id"][:] == [f"{c}_001" for c in RESISC45_CLASSES]
    assert splits["test"]["label"][:] == list(range(45))


def test_a_list_with_labels_in_another_order_is_an_error(tmp_path):
    write_resisc45(tmp_path, 1)
    for name in ("train_labels_28_mtp.txt", "valid_labels_28_mtp.txt"):
        (tmp_path / name).write_text("airport_001.jpg 2\n")
    with pytest.raises(AnnotationError, match=r"airport_001.jpg: label 2 in the list; expected 1"):
        load(tmp_path, tmp_path)


def test_in_domain_lists_are_used(fake, tmp_path):
    names = {split: [f"{c}_{n:03d}" for c in ("beach", "lake")]
             for n, split in enumerate(("train", "val", "test"), start=2)}  # fmt: skip
    write_lists(fake, "resisc45", names)
    try:
        splits = load(fake, tmp_path, "in_domain")
        assert splits["validation"]["image_id"][:] == ["beach_003", "lake_003"]
        assert load(fake, tmp_path)["train"].num_rows == 45  # the other config has other lists
    finally:
        for path in fake.glob("*.txt"):
            path.unlink()


def test_streaming_gives_the_same_rows(fake, tmp_path):
    rows = load(fake, tmp_path, split="train")
    stream = load(fake, tmp_path, split="train", streaming=True)
    for streamed, row in zip(stream, rows, strict=True):
        assert (streamed["image_id"], streamed["label"]) == (row["image_id"], row["label"])
        assert np.array_equal(np.asarray(streamed["image"]), np.asarray(row["image"]))


def test_two_processes_write_the_same_rows(fake, tmp_path):
    rows = load(fake, tmp_path, split="test", num_proc=2)
    assert rows["image_id"][:] == sorted(rows["image_id"])
    assert rows.num_rows == 180


def test_a_rar_alone_is_an_error_with_the_command(tmp_path):
    (tmp_path / "NWPU-RESISC45.rar").write_bytes(b"Rar!")
    with pytest.raises(FileNotFoundError, match=r"no .jpg .*; extract .* unrar x NWPU-RESISC45"):
        load(tmp_path, tmp_path)


def test_a_broken_file_stops_the_reading_or_is_left_out(tmp_path):
    write_resisc45(tmp_path, 5)
    (tmp_path / "NWPU-RESISC45/lake/lake_003.jpg").write_bytes(b"<html>")
    with pytest.raises(AnnotationError, match=r"lake_003.jpg: the image file is no image"):
        load(tmp_path, tmp_path)
    splits = load(tmp_path, tmp_path, on_error="skip")
    assert sum(rows.num_rows for rows in splits.values()) == 5 * 45 - 1


def test_a_file_in_the_folder_of_another_class_is_an_error(tmp_path):
    write_resisc45(tmp_path, 5)
    folder = tmp_path / "NWPU-RESISC45"
    (folder / "lake/lake_003.jpg").rename(folder / "island/lake_003.jpg")
    with pytest.raises(AnnotationError, match="a file of class 'lake' in the folder of .*'island'"):
        load(tmp_path, tmp_path)


def test_real_scenes_are_read(shared_dir, tmp_path):
    root = shared_dir / "data/samples/resisc45"
    if not root.is_dir():
        pytest.skip("samples are not here")
    assert {s: rows.num_rows for s, rows in load(root, tmp_path).items()} == {
        "train": 10,
        "test": 40,
    }
    splits = load(root, tmp_path, "in_domain")
    assert [rows.num_rows for rows in splits.values()] == [25, 25, 25]
    for row in splits["train"]:
        assert row["image"].size == (256, 256)
        assert row["image_id"] == f"{RESISC45_CLASSES[row['label']]}_001"
