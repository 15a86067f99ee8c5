"""The whole pair of WHU-CD is cut without a gap, a strip at a time, whatever its packing."""

import io

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts import _whu_mosaics
from mtp_hf.dataset_scripts._change_pairs import ChangePair
from mtp_hf.dataset_scripts._rasters import Raster
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._whu_mosaics import list_strips, read_strip
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_change import change_map, pictures, write_pair, write_whu_mosaic, write_whu_patches

SIZE = (64, 96)


@pytest.fixture
def load(tmp_path):
    def load(root, config="split_7_1_2_tiles", split=None, **options):
        options = {"cache_dir": tmp_path / "cache", "quiet": True} | options
        return load_dataset("whu_cd", config, data_dir=root, split=split, **options)

    return load


@pytest.fixture
def mosaic(tmp_path):
    paths = tuple(tmp_path / f"{name}.tif" for name in ("before", "after", "map"))
    write_pair(paths, 0, SIZE)
    return ChangePair("whole", *map(str, paths))


def halves(names):
    return {"train": names[::2], "test": names[1::2]}


def put_together(rows, column, size=SIZE):
    """The mosaic that tiles were cut from, without the padding."""
    first = np.asarray(rows[0][column])
    whole = np.full((size[0] + 256, size[1] + 256, *first.shape[2:]), 77, first.dtype)
    for row in rows:
        tile = np.asarray(row[column])
        x, y = row["tile"]["x"], row["tile"]["y"]
        whole[y : y + len(tile), x : x + len(tile)] = tile
    return whole[: size[0], : size[1]]


@pytest.mark.parametrize("layout", ["image", "beside", "areas"])
def test_the_tiles_of_all_splits_together_are_the_whole_pair(tmp_path, load, layout):
    root = write_whu_mosaic(tmp_path / "WHU", layout)
    splits = load(root, tile_size=20)
    rows = [row for split in splits.values() for row in split]
    sources = ("train", "test") if layout == "areas" else ("whole",)
    assert len(rows) == 20 * len(sources)  # 4 x 5
    assert len({row["image_id"] for row in rows}) == len(rows)
    before, after = pictures(0, SIZE)
    for source in sources:
        own = [row for row in rows if row["tile"]["source_id"] == source]
        np.testing.assert_array_equal(put_together(own, "image"), before)
        np.testing.assert_array_equal(put_together(own, "image_post"), after)
        np.testing.assert_array_equal(put_together(own, "mask"), change_map(SIZE))


def test_the_split_is_drawn_in_the_ratio_of_the_config(tmp_path, load):
    root = write_whu_mosaic(tmp_path / "WHU")
    counts = load(root, tile_size=16).num_rows
    assert counts == {"train": 17, "validation": 2, "test": 5}  # 24 in 7 : 1 : 2
    counts = load(root, "split_8_1_1_tiles", tile_size=16).num_rows
    assert counts == {"train": 19, "validation": 3, "test": 2}
    first, same, other = (
        load(root, split="test", tile_size=16, split_seed=seed)["image_id"][:] for seed in (0, 0, 1)
    )
    assert first == same != other


def test_padded_parts_are_black_and_ignored(tmp_path, load):
    rows = [
        r
        for split in load(write_whu_mosaic(tmp_path / "WHU"), tile_size=40).values()
        for r in split
    ]
    (corner,) = (row for row in rows if (row["tile"]["x"], row["tile"]["y"]) == (80, 40))
    assert not np.asarray(corner["image"])[24:].any()
    mask = np.asarray(corner["mask"])
    assert (mask[24:] == 255).all()
    assert (mask[:, 16:] == 255).all()
    assert (mask[:24, :16] == 0).all()


def test_a_strip_without_change_is_read_by_the_coding_of_the_whole_map(mosaic):
    Image.fromarray(change_map(SIZE)).save(mosaic.mask)  # 0 and 1
    strips = list_strips([mosaic], halves, 16, 10**6)["train"]
    masks = {}
    for strip in strips:
        for _, row in read_strip(strip, 10**6):
            masks[row["tile"]["x"], row["tile"]["y"]] = row["mask"]["bytes"]
    assert len(masks) == 12
    sums = {place: int(np.asarray(Image.open(io.BytesIO(b))).sum()) for place, b in masks.items()}
    # The square covers rows 8 to 17 and columns 12 to 21.
    expected = dict.fromkeys(masks, 0) | {(0, 0): 8 * 4, (0, 16): 2 * 4}
    assert sums == expected


def test_strips_are_one_row_of_the_grid_and_small(mosaic):
    strips = list_strips([mosaic], halves, 16, 10**6)
    assert {split: len(found) for split, found in strips.items()} == {"train": 4, "test": 4}
    for strip in strips["train"]:
        assert len({window.y for window in strip.windows}) == 1
        assert [window.x for window in strip.windows] == sorted(w.x for w in strip.windows)


def test_only_the_rows_of_a_strip_are_decoded(mosaic, monkeypatch):
    strip = list_strips([mosaic], halves, 16, 10**6)["train"][2]
    list(read_strip(strip, 10**6))  # the coding is known now
    read = []
    plain = Raster.read_rgb
    monkeypatch.setattr(
        Raster, "read_rgb", lambda self, window: read.append(window) or plain(self, window)
    )
    list(read_strip(strip, 10**6))
    assert [(window.y, window.height) for window in read] == [(32, 16)] * 3


def test_the_map_is_counted_once_in_a_process(mosaic, monkeypatch):
    _whu_mosaics._find_classes.cache_clear()
    counted = []
    plain = _whu_mosaics.find_change_classes
    monkeypatch.setattr(
        _whu_mosaics, "find_change_classes", lambda *a: counted.append(1) or plain(*a)
    )
    for strip in list_strips([mosaic], halves, 16, 10**6)["train"]:
        list(read_strip(strip, 10**6))
    assert counted == [1]


def test_two_processes_and_streaming_give_the_same_tiles(tmp_path, load):
    root = write_whu_mosaic(tmp_path / "WHU")
    options = {"split": "train", "tile_size": 16}
    rows = list(load(root, **options))
    shared = list(load(root, **options, num_proc=2, cache_dir=tmp_path / "other"))
    streamed = list(load(root, **options, streaming=True))
    for others in (shared, streamed):
        assert [row["tile"] for row in others] == [row["tile"] for row in rows]
        np.testing.assert_array_equal(np.asarray(others[3]["mask"]), np.asarray(rows[3]["mask"]))


def test_files_of_different_size_are_an_error(mosaic):
    Image.fromarray(change_map((64, 95))).save(mosaic.mask)
    with pytest.raises(AnnotationError, match=r"map\.tif: 64 x 95 pixels; expected 64 x 96"):
        list_strips([mosaic], halves, 16, 10**6)


def test_a_mosaic_beyond_the_limit_is_refused(tmp_path, load):
    with pytest.raises(AnnotationError, match="96 x 64 pixels; expected at most"):
        load(write_whu_mosaic(tmp_path / "WHU"), tile_size=16, max_pixels=6143)


def test_a_photograph_in_place_of_the_map_is_an_error_that_names_it(mosaic):
    Image.fromarray(pictures(0, SIZE)[0]).save(mosaic.mask)
    strip = list_strips([mosaic], halves, 16, 10**6)["train"][0]
    _whu_mosaics._find_classes.cache_clear()
    with pytest.raises(AnnotationError, match=r"map\.tif: .* expected a change map of two values"):
        list(read_strip(strip, 10**6))


def test_patches_are_no_mosaic(tmp_path, load):
    root = write_whu_patches(tmp_path / "WHU", {"train": 2, "val": 1, "test": 1})
    with pytest.raises(FileNotFoundError, match="no whole pictures; .* by config 'split_7_1_2'"):
        load(root)


def test_sample_files_are_cut(shared_dir, load):
    rows = [
        row
        for split in load(shared_dir / "data/samples/whu_cd/raw", tile_size=64).values()
        for row in split
    ]
    folder = shared_dir / "data/samples/whu_cd/raw/two_period_data"
    pixels = np.asarray(Image.open(folder / "before/image/before.tif").convert("RGB"))
    size = pixels.shape[:2]
    np.testing.assert_array_equal(put_together(rows, "image", size), pixels)
    values = np.asarray(Image.open(folder / "change_label/change_label.tif"))
    assert 0 < (values > 0).mean() < 1
    np.testing.assert_array_equal(put_together(rows, "mask", size), values > 0)
