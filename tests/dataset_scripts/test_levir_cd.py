"""The builder of LEVIR-CD on small copies and on published patches."""

import shutil

import numpy as np
import pytest
from datasets import load_dataset as load_parquet

from mtp_hf.dataset_scripts import get_builder
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import change_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_change import change_map, pictures, write_levir

COUNTS = {"train": 3, "validation": 1, "test": 2}


@pytest.fixture
def load(tmp_path):
    def load(root, split=None, **options):
        cache = tmp_path / "cache"
        return load_dataset(
            "levir_cd", data_dir=root, split=split, cache_dir=cache, quiet=True, **options
        )

    return load


def arrays(row):
    return {name: np.asarray(row[name]) for name in ("image", "image_post", "mask")}


@pytest.mark.parametrize("layout", ["flat", "split_first", "split_last", "list"])
def test_every_layout_gives_the_same_pictures(tmp_path, load, layout):
    rows = load(write_levir(tmp_path / "set", layout))
    assert rows.num_rows == COUNTS
    assert rows["train"].features == change_features()
    first = arrays(rows["train"][0])
    before, after = pictures(seed=0)
    assert np.array_equal(first["image"], before)
    assert np.array_equal(first["image_post"], after)
    assert np.array_equal(first["mask"], change_map())


def test_the_archives_of_the_download_are_read_as_they_are(tmp_path, load):
    write_levir(tmp_path / "unpacked", "split_first")
    (tmp_path / "set").mkdir()
    for split in ("train", "val", "test"):
        shutil.make_archive(tmp_path / "set" / split, "zip", tmp_path / "unpacked" / split)
    rows = load(tmp_path / "set")
    assert rows.num_rows == COUNTS
    assert np.array_equal(np.asarray(rows["validation"][0]["mask"]), change_map())


def test_change_lies_where_the_pictures_differ(tmp_path, load):
    for row in load(write_levir(tmp_path / "set"), "train"):
        found = arrays(row)
        differs = (found["image"] != found["image_post"]).any(axis=2)
        assert np.array_equal(differs, found["mask"] == 1)


def test_streamed_rows_are_the_prepared_ones(tmp_path, load):
    root = write_levir(tmp_path / "set")
    prepared = load(root, "train")
    streamed = load(root, "train", streaming=True)
    assert streamed.num_shards == len(prepared)
    for left, right in zip(streamed, prepared, strict=True):
        assert {k: v for k, v in left.items() if k in ("image_id", "width", "height")} == {
            k: v for k, v in right.items() if k in ("image_id", "width", "height")
        }
        for name, pixels in arrays(left).items():
            assert np.array_equal(pixels, arrays(right)[name])


def test_two_processes_write_the_same_rows(tmp_path, load):
    root = write_levir(tmp_path / "set")
    ids = load(root, "train")["image_id"][:]
    made = get_builder("levir_cd")(data_dir=str(root), cache_dir=str(tmp_path / "cache2"))
    made.download_and_prepare(num_proc=2)
    assert made.as_dataset("train")["image_id"][:] == ids == ["train_1", "train_10", "train_2"]


def test_parquet_carries_both_pictures_and_the_map(tmp_path, load):
    root = write_levir(tmp_path / "set")
    before = [arrays(row) for row in load(root, "test")]
    made = get_builder("levir_cd")(data_dir=str(root), cache_dir=str(tmp_path / "cache2"))
    made.download_and_prepare(str(tmp_path / "out"), file_format="parquet")
    for file in root.rglob("*.png"):
        file.unlink()
    rows = load_parquet(str(tmp_path / "out"), split="test", cache_dir=str(tmp_path / "cache3"))
    assert rows.features == change_features()
    for row, expected in zip(rows, before, strict=True):
        for name, pixels in arrays(row).items():
            assert np.array_equal(pixels, expected[name])


def test_a_damaged_map_stops_the_reading_or_is_left_out(tmp_path, load):
    root = write_levir(tmp_path / "set")
    (root / "label" / "train_2.png").write_bytes(b"junk")
    (root / "B" / "train_1.png").unlink()
    with pytest.raises(AnnotationError, match=r"image 'train_1': .*B/train_1: no such file"):
        load(root, "train")
    assert load(root, "train", on_error="skip")["image_id"][:] == ["train_10"]


def test_pictures_beyond_the_limit_are_refused(tmp_path, load):
    root = write_levir(tmp_path / "set")
    assert load(root, "test", max_pixels=1024).num_rows == 2
    with pytest.raises(AnnotationError, match="A/train_1.png: the image claims 32 x 32 pixels"):
        load(root, "test", max_pixels=1023)


def test_a_wrong_folder_is_an_error(tmp_path, load):
    (tmp_path / "set" / "images").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="expected folders A, B and label"):
        load(tmp_path / "set")


def test_an_unknown_split_is_an_error(tmp_path, load):
    with pytest.raises(ValueError, match='Unknown split "valid"'):
        load(write_levir(tmp_path / "set"), "valid")


def test_published_patches_are_read(shared_dir, load):
    root = shared_dir / "data/samples/levir_cd_256"
    if not root.is_dir():
        pytest.skip("samples are not here")
    rows = load(root)
    assert rows.num_rows == {"train": 3, "validation": 1, "test": 7}
    shares = [np.asarray(row["mask"]).mean() for split in rows for row in rows[split]]
    assert sorted(shares)[0] == 0.0  # one of them is unchanged
    assert 0.11 < sorted(shares)[1] < sorted(shares)[-1] < 0.26
    assert shares[4] == pytest.approx(0.2068, abs=1.0e-4)  # test_102_0512_0000
    for row in rows["test"]:
        assert arrays(row)["image"].shape == arrays(row)["image_post"].shape == (256, 256, 3)
