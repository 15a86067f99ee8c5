"""The builder of WHU-CD: ready patches, drawn splits, and where the whole pair lies."""

import numpy as np
import pytest
from datasets.utils import logging as datasets_logging
from PIL import Image

from mtp_hf.dataset_scripts._change_pairs import find_pairs, read_pair
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import change_features
from mtp_hf.dataset_scripts.loading import load_dataset
from mtp_hf.dataset_scripts.whu_cd import WHU_SPLITS, find_mosaics
from tests.fakes_change import change_map, write_pairs, write_whu_mosaic, write_whu_patches

LAYOUTS = ["image", "beside", "areas"]


@pytest.fixture
def load(tmp_path):
    def load(config, root, split=None, **options):
        cache = tmp_path / "cache"
        return load_dataset(
            "whu_cd", config, data_dir=root, split=split, cache_dir=cache, quiet=True, **options
        )

    return load


@pytest.fixture
def warnings(caplog):
    datasets_logging.enable_propagation()
    yield caplog
    datasets_logging.disable_propagation()


def test_the_splits_are_those_of_the_whole_grid():
    grid = -(-32507 // 256) * -(-15354 // 256)
    assert grid == 7620
    assert [sum(counts.values()) for counts in WHU_SPLITS.values()] == [grid, grid]
    shares = [[n / grid for n in counts.values()] for counts in WHU_SPLITS.values()]
    assert shares == [[0.7, 0.1, 0.2], [0.8, 0.1, 0.1]]


def test_split_folders_decide(tmp_path, load, warnings):
    root = write_whu_patches(tmp_path / "set", {"train": 7, "val": 1, "test": 2})
    rows = load("split_7_1_2", root)
    assert rows.num_rows == {"train": 7, "validation": 1, "test": 2}
    assert rows["test"].features == change_features()
    assert rows["test"]["image_id"][:] == ["00008", "00009"]
    assert np.array_equal(np.asarray(rows["test"][0]["mask"]), change_map())
    assert "not the one of config" not in warnings.text


def test_split_folders_of_another_split_are_reported(tmp_path, load, warnings):
    root = write_whu_patches(tmp_path / "set", {"train": 5, "val": 1, "test": 4})
    assert load("split_8_1_1", root).num_rows == {"train": 5, "validation": 1, "test": 4}
    assert "5 train, 1 validation, 4 test patches; that is not the one of config" in warnings.text


@pytest.mark.parametrize(
    ("config", "counts"), [("split_7_1_2", [14, 2, 4]), ("split_8_1_1", [16, 2, 2])]
)
def test_a_split_is_drawn_where_none_is_told(tmp_path, load, warnings, config, counts):
    root = write_whu_patches(tmp_path / "set", {"": 20})
    drawn = load(config, root)
    assert list(drawn.num_rows.values()) == counts
    ids = [set(drawn[split]["image_id"]) for split in drawn]
    assert len(set.union(*ids)) == 20
    assert f"{counts[0]} train, {counts[1]} validation, {counts[2]} test images drawn" in (
        warnings.text
    )


def test_a_drawn_split_depends_on_the_seed_alone(tmp_path, load):
    root = write_whu_patches(tmp_path / "set", {"": 20})
    ids = [load("split_7_1_2", root, "train", split_seed=s)["image_id"][:] for s in (0, 1)]
    again = load("split_7_1_2", write_whu_patches(tmp_path / "copy", {"": 20}), "train")
    assert again["image_id"][:] == ids[0] != ids[1]


def test_suffixes_may_differ_from_copy_to_copy(tmp_path, load):
    root = tmp_path / "set"
    for split, suffix in (("train", ".tif"), ("val", ".jpg"), ("test", ".png")):
        write_pairs(root / split, ["1"], suffix)
    for split in load("split_7_1_2", root).values():
        assert np.array_equal(np.asarray(split[0]["mask"]), change_map())


def test_maps_of_zero_and_one_are_read_alike(tmp_path, load):
    root = write_whu_patches(tmp_path / "set", {"train": 1})
    Image.fromarray(change_map()).save(root / "train/label/00000.png")
    assert np.array_equal(np.asarray(load("split_7_1_2", root)["train"][0]["mask"]), change_map())


def test_streamed_rows_are_the_prepared_ones(tmp_path, load):
    root = write_whu_patches(tmp_path / "set", {"": 20})
    prepared = load("split_8_1_1", root, "test")
    streamed = load("split_8_1_1", root, "test", streaming=True)
    for left, right in zip(streamed, prepared, strict=True):
        assert left["image_id"] == right["image_id"]
        assert np.array_equal(np.asarray(left["image_post"]), np.asarray(right["image_post"]))


def test_a_missing_patch_is_an_error_or_left_out(tmp_path, load):
    root = write_whu_patches(tmp_path / "set", {"train": 2, "val": 1, "test": 1})
    (root / "train/label/00001.png").unlink()
    with pytest.raises(AnnotationError, match=r"image '00001': .*label/00001: no such file"):
        load("split_7_1_2", root)
    kept = load("split_7_1_2", root, "train", on_error="skip")
    assert kept["image_id"][:] == ["00000"]


def test_a_wrong_folder_is_an_error(tmp_path, load):
    (tmp_path / "set").mkdir()
    with pytest.raises(FileNotFoundError, match="found nothing; expected folders A, B"):
        load("split_7_1_2", tmp_path / "set")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_whole_pair_is_found_in_every_packing(tmp_path, layout):
    mosaics = find_mosaics(write_whu_mosaic(tmp_path, layout))
    ids = ["train", "test"] if layout == "areas" else ["whole"]
    assert [mosaic.image_id for mosaic in mosaics] == ids
    for mosaic in mosaics:
        ((_, row),) = read_pair(mosaic)
        assert (row["height"], row["width"]) == (64, 96)
        before, after = (np.asarray(Image.open(path)) for path in mosaic[1:3])
        assert np.array_equal((before != after).any(axis=2), change_map((64, 96)) == 1)
        assert Image.open(mosaic.mask).size == (96, 64)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_plain_configs_name_the_one_that_cuts(tmp_path, load, layout):
    root = write_whu_mosaic(tmp_path / "set", layout)
    with pytest.raises(
        AnnotationError, match=r"found the whole picture .*\.tif; .*Config 'split_7_1_2_tiles' cuts"
    ):
        load("split_7_1_2", root)


def test_patches_in_folders_called_before_and_after_are_no_mosaic(tmp_path):
    write_pairs(tmp_path, ["1", "2"], names=("before", "after", "change_label"))
    assert find_mosaics(tmp_path) == []
    assert len(find_pairs(tmp_path, lambda ids: {"train": ids})["train"]) == 2


def test_a_second_picture_of_the_whole_area_is_an_error(tmp_path):
    write_whu_mosaic(tmp_path)
    (folder,) = tmp_path.rglob("before/image")
    Image.new("RGB", (96, 64)).save(folder / "other.tif")
    with pytest.raises(AnnotationError, match="before/image: 2 images; expected one"):
        find_mosaics(tmp_path)


def test_an_area_without_its_picture_is_an_error(tmp_path):
    write_whu_mosaic(tmp_path, "areas")
    (folder,) = tmp_path.rglob("2016/whole_image/test/image")
    folder.rename(folder.parent / "elsewhere")
    with pytest.raises(FileNotFoundError, match="2016/whole_image/test/image: no such folder"):
        find_mosaics(tmp_path)


def test_sample_files_are_read(shared_dir, load):
    root = shared_dir / "data/samples/whu_cd"
    if not root.is_dir():
        pytest.skip("samples are not here")
    rows = load("split_7_1_2", root / "patches_256")
    assert rows.num_rows == {"train": 2, "validation": 1, "test": 1}
    assert [np.asarray(row["mask"]).mean() > 0 for row in rows["train"]] == [True, True]
    (mosaic,) = find_mosaics(root / "raw")
    ((_, row),) = read_pair(mosaic)
    assert (row["height"], row["width"]) == (512, 512)
