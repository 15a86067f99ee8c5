"""The builder of CDD on small copies and on a published pair."""

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts.features import change_features
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_change import change_map, write_cdd

COUNTS = {"train": 3, "validation": 2, "test": 2}


@pytest.fixture
def load(tmp_path):
    def load(root, split=None, **options):
        cache = tmp_path / "cache"
        return load_dataset(
            "cdd", data_dir=root, split=split, cache_dir=cache, quiet=True, **options
        )

    return load


@pytest.mark.parametrize("above", ["", "downloads/x", "ChangeDetectionDataset"])
def test_the_subset_is_found_anywhere_below_the_folder(tmp_path, load, above):
    write_cdd(tmp_path / "set" / above)
    assert load(tmp_path / "set").num_rows == COUNTS


def test_two_copies_are_an_error(tmp_path, load):
    for name in ("one", "two"):
        write_cdd(tmp_path / "set" / name)
    with pytest.raises(AnnotationError, match="several folders of pairs, .*one.* and .*two"):
        load(tmp_path / "set")


@pytest.mark.parametrize("inside", [(), (0,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("label", ["OUT", "label"])
def test_the_subset_is_found_from_every_folder_above_it(tmp_path, load, inside, label):
    parts = ("ChangeDetectionDataset", "Real", "subset")
    root = write_cdd(tmp_path / "set", label).joinpath(*(parts[i] for i in inside))
    rows = load(root)
    assert rows.num_rows == COUNTS  # neither the originals nor the synthetic pairs
    assert rows["test"].features == change_features()
    assert rows["test"]["image_id"][:] == ["00000", "00001"]


def test_jpeg_maps_become_zero_and_one(tmp_path, load):
    root = write_cdd(tmp_path / "set")
    file = root / "ChangeDetectionDataset/Real/subset/train/OUT/00001.jpg"
    noisy = np.asarray(Image.open(file))
    assert len(np.unique(noisy)) > 2
    for row in load(root, "train"):
        found = np.asarray(row["mask"])
        assert row["mask"].mode == "L"
        assert np.array_equal(found, change_map())


def test_a_map_of_zero_and_one_is_read_alike(tmp_path, load):
    root = write_cdd(tmp_path / "set")
    folder = root / "ChangeDetectionDataset/Real/subset/val/OUT"
    (folder / "00000.jpg").unlink()
    Image.fromarray(change_map()).save(folder / "00000.png")
    assert np.array_equal(np.asarray(load(root, "validation")[0]["mask"]), change_map())


def test_streamed_rows_are_the_prepared_ones(tmp_path, load):
    root = write_cdd(tmp_path / "set")
    rows = zip(load(root, "test", streaming=True), load(root, "test"), strict=True)
    for streamed, prepared in rows:
        assert streamed["image_id"] == prepared["image_id"]
        for name in ("image", "image_post", "mask"):
            assert np.array_equal(np.asarray(streamed[name]), np.asarray(prepared[name]))


def test_a_photograph_in_place_of_a_map_is_an_error_or_left_out(tmp_path, load):
    root = write_cdd(tmp_path / "set")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    file = root / "ChangeDetectionDataset/Real/subset/test/OUT/00000.jpg"
    Image.fromarray(noise).save(file)
    with pytest.raises(AnnotationError, match=r"00000.jpg: \d+ gray values"):
        load(root, "test")
    assert load(root, "test", on_error="skip")["image_id"][:] == ["00001"]


def test_a_missing_picture_is_an_error(tmp_path, load):
    root = write_cdd(tmp_path / "set")
    (root / "ChangeDetectionDataset/Real/subset/test/A/00001.jpg").unlink()
    with pytest.raises(AnnotationError, match="image '00001': .*test/A/00001: no such file"):
        load(root, "test")


def test_an_archive_that_only_other_programs_read_is_named(tmp_path, load):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "ChangeDetectionDataset.rar").write_bytes(b"Rar!")
    with pytest.raises(FileNotFoundError, match="expected folders A, B.*unrar x"):
        load(tmp_path / "set")


def test_a_published_pair_is_read(shared_dir, load):
    root = shared_dir / "data/samples/cdd"
    if not root.is_dir():
        pytest.skip("samples are not here")
    rows = load(root)
    assert rows.num_rows == {"train": 1, "validation": 1, "test": 1}
    mask = np.asarray(rows["train"][0]["mask"])
    assert mask.shape == (256, 256)
    assert mask.mean() == pytest.approx(0.425, abs=0.001)
