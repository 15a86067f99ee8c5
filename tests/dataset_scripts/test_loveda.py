"""LoveDA: labels, scenes, splits, layouts, broken files."""

import logging
import shutil

import datasets
import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.class_names import LOVEDA_CLASSES
from mtp_hf.dataset_scripts.features import segmentation_features
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.dataset_scripts.loveda import Loveda, read_loveda_mask
from tests.fakes_segmentation import LOVEDA_SIZE, loveda_mask, write_loveda, write_png


@pytest.fixture
def root(tmp_path):
    return write_loveda(tmp_path / "LoveDA")


def load(root, tmp_path, config=None, **options):
    return load_dataset(
        "loveda", config, data_dir=root, cache_dir=tmp_path / "cache", quiet=True, **options
    )


def test_columns_and_configs():
    assert Loveda(config_name="all").info.features == segmentation_features()
    assert [config.name for config in Loveda.BUILDER_CONFIGS] == ["all", "urban", "rural"]


@pytest.mark.parametrize(
    ("config", "ids"),
    [
        ("all", {"train": ["0", "1", "2", "10"], "validation": ["11", "12"],
                 "test": ["13", "14", "15"]}),
        ("rural", {"train": ["0", "2", "10"], "validation": ["11"], "test": ["13"]}),
        ("urban", {"train": ["1"], "validation": ["12"], "test": ["14", "15"]}),
    ],
)  # fmt: skip
def test_splits_have_the_images_of_the_scenes_in_the_order_of_their_numbers(
    root, tmp_path, config, ids
):
    splits = load(root, tmp_path, config)
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == ids


def test_labels_start_at_zero_and_no_data_is_255(root, tmp_path):
    for row in load(root, tmp_path, split="train+validation"):
        assert row["mask"].mode == "L"
        labels = np.asarray(row["mask"])
        values = loveda_mask(int(row["image_id"]))
        assert np.array_equal(labels[values > 0], values[values > 0] - 1)
        assert (labels[values == 0] == 255).all()
        assert set(np.unique(labels)) == {*range(len(LOVEDA_CLASSES)), 255}


def test_a_row_has_size_and_scene(root, tmp_path):
    rows = load(root, tmp_path, split="train")
    assert [row["scene"] for row in rows] == ["rural", "urban", "rural", "rural"]
    assert {(row["width"], row["height"]) for row in rows} == {(LOVEDA_SIZE, LOVEDA_SIZE)}
    file = root / "Train/Urban/images_png/1.png"
    assert np.array_equal(np.asarray(rows[1]["image"]), np.asarray(Image.open(file)))


def test_the_test_has_no_masks(root, tmp_path):
    assert load(root, tmp_path, split="test")["mask"][:] == [None] * 3


def test_streaming_gives_the_same_rows(root, tmp_path):
    for split in ("train", "test"):
        rows = load(root, tmp_path, split=split)
        stream = load(root, tmp_path, split=split, streaming=True)
        for streamed, row in zip(stream, rows, strict=True):
            for column in ("image", "mask"):
                pixels = [np.asarray(x.pop(column)) for x in (streamed, row)]
                assert np.array_equal(*pixels)
            assert streamed == row


def test_archives_of_the_splits_are_read(root, tmp_path):
    for split in ("Train", "Val", "Test"):
        shutil.make_archive(str(tmp_path / "zips" / split), "zip", root, split)
    zipped, plain = (load(r, tmp_path) for r in (tmp_path / "zips", root))
    assert {s: rows.num_rows for s, rows in zipped.items()} == {
        "train": 4,
        "validation": 2,
        "test": 3,
    }
    masks = [np.asarray(splits["train"][2]["mask"]) for splits in (zipped, plain)]
    assert np.array_equal(*masks)


@pytest.mark.parametrize(
    "names", [("Train", "train"), ("images_png", "images"), ("Rural", "RURAL")]
)
def test_other_names_of_folders_are_accepted(root, tmp_path, names):
    for path in [path for path in root.rglob(names[0]) if path.is_dir()]:
        path.rename(path.with_name(names[1]))
    assert load(root, tmp_path, split="train").num_rows == 4
    assert load(root.parent, tmp_path, split="train").num_rows == 4


def test_a_split_or_scene_that_is_not_there_is_said(root, tmp_path, caplog):
    shutil.rmtree(root / "Test")
    shutil.rmtree(root / "Val/Urban")
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        splits = load(root, tmp_path)
    datasets.utils.logging.disable_propagation()
    assert {s: rows.num_rows for s, rows in splits.items()} == {"train": 4, "validation": 1}
    assert "no folder Test; there is no such split" in caplog.text
    assert "Val: no folder Urban/images_png; none of its images" in caplog.text


def test_a_split_without_the_scene_is_not_there(root, tmp_path):
    shutil.rmtree(root / "Val/Urban")
    assert load(root, tmp_path, "urban").num_rows == {"train": 1, "test": 2}


@pytest.mark.parametrize("above", ["a/LoveDA", "Train"])
def test_splits_are_found_anywhere_below_the_folder(tmp_path, above):
    write_loveda(tmp_path / "set" / above)
    assert load(tmp_path / "set", tmp_path).num_rows == {"train": 4, "validation": 2, "test": 3}


def test_each_split_may_lie_in_a_folder_of_its_own(root, tmp_path):
    for name in ("Train", "Val", "Test"):
        (root / name).rename(root / f"{name}_")
        (root / name).mkdir()
        (root / f"{name}_").rename(root / name / name)
    assert load(root, tmp_path).num_rows == {"train": 4, "validation": 2, "test": 3}


def test_a_split_that_is_there_twice_is_an_error(root, tmp_path):
    shutil.copytree(root / "Val", root / "copy/Val")
    with pytest.raises(AnnotationError, match="Val are split 'validation'; expected one"):
        load(root, tmp_path)


def test_the_wrong_folder_is_an_error(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder Train, Val, Test; expected those of"):
        load(root / "Train/Rural", tmp_path)


def test_missing_masks_are_an_error(root, tmp_path):
    (root / "Train/Rural/masks_png/2.png").unlink()
    with pytest.raises(AnnotationError, match=r"masks_png/2.png: no such mask"):
        load(root, tmp_path)
    assert load(root, tmp_path, on_error="skip", split="train")["image_id"][:] == ["0", "1", "10"]
    shutil.rmtree(root / "Train/Rural/masks_png")
    with pytest.raises(FileNotFoundError, match="Rural: no folder masks_png; expected the masks"):
        load(root, tmp_path)


def test_masks_without_an_image_are_said(root, tmp_path, caplog):
    (root / "Train/Rural/images_png/2.png").unlink()
    datasets.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        assert load(root, tmp_path, split="train").num_rows == 3
    datasets.utils.logging.disable_propagation()
    assert "masks_png: 1 masks without an image, first '2'" in caplog.text


def test_a_number_in_both_scenes_is_an_error(root, tmp_path):
    shutil.copy(root / "Train/Rural/images_png/2.png", root / "Train/Urban/images_png/2.png")
    with pytest.raises(AnnotationError, match=r"Urban/images_png/2.png: image id '2' is also"):
        load(root, tmp_path)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((16, 16), 8, np.uint8), r"value 8; expected 0 \(no data\) to 7"),
        (np.zeros((16, 16, 3), np.uint8), "3 bands of uint8; expected one of uint8"),
        (np.zeros((16, 16), np.uint16), "1 bands of uint16; expected one of uint8"),
        (np.ones((8, 16), np.uint8), r"16 x 8 pixels; expected 16 x 16, the size of .*2.png"),
    ],
)
def test_a_mask_that_cannot_be_right_is_an_error(root, tmp_path, pixels, message):
    write_png(root / "Train/Rural/masks_png/2.png", pixels)
    with pytest.raises(AnnotationError, match=rf"masks_png/2.png: {message}"):
        load(root, tmp_path)


def test_a_mask_with_a_palette_counts_by_its_indices(tmp_path):
    image = Image.fromarray(loveda_mask(0)).convert("L")
    image.putpalette(list(range(0, 240, 10)))  # eight colours
    image.save(tmp_path / "0.png")
    assert np.array_equal(read_loveda_mask(tmp_path / "0.png", 256), loveda_mask(0) - np.uint8(1))


@pytest.mark.parametrize("name", ["images_png", "masks_png"])
def test_a_file_cut_short_is_an_error(root, tmp_path, name):
    path = root / f"Train/Rural/{name}/2.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(AnnotationError, match=rf"{name}/2.png: the image file is damaged"):
        load(root, tmp_path)


def test_real_images_are_read(shared_dir, tmp_path):
    root = shared_dir / "data/samples/loveda"
    if not root.is_dir():
        pytest.skip("samples are not here")
    splits = load(root, tmp_path)
    assert {split: rows["image_id"][:] for split, rows in splits.items()} == {
        "train": ["0"],
        "validation": ["1"],
    }
    row = splits["train"][0]
    assert row["image"].size == row["mask"].size == (1024, 1024)
    published = np.asarray(Image.open(root / "Train/Rural/masks_png/0.png"))
    assert np.array_equal(np.asarray(row["mask"]), published - 1)
