"""Tiles of every set: the pixels and objects of their image, and where they were cut."""

import io

import datasets
import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts import get_builder
from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._tiled import CUT, SlidingTilesConfig, TilesConfig, encode_tile
from mtp_hf.dataset_scripts.loading import load_dataset
from tests.fakes_change import write_levir, write_oscd
from tests.fakes_detection import (
    POLYGONS,
    dota_line,
    fair1m_xml,
    write_dota,
    write_fair1m,
    write_text,
    write_xview,
)

# Windows of 32 every 24 pixels: x 0, 24, 28 and y 0, 8 in a picture of 60 x 40.
TILES = {"tile_size": 32, "overlap": 8}
# The first polygon lies in the first window; the second one leaves the picture on the right.
PLACES = [(0, 0), (24, 0), (28, 0), (24, 8), (28, 8)]


@pytest.fixture
def load(tmp_path):
    def load(name, config, root, split="train", **options):
        options = {"cache_dir": tmp_path / "cache", "quiet": True} | options
        return load_dataset(name, config, data_dir=root, split=split, **options)

    return load


@pytest.fixture
def dota(tmp_path):
    return write_dota(tmp_path / "DOTA")


def place(row):
    return row["tile"]["x"], row["tile"]["y"]


def put_together(rows, column="image"):
    """The picture that tiles were cut from, with the padding of the last ones."""
    side = rows[0]["tile"]["size"]
    width, height = (max(place(row)[axis] for row in rows) + side for axis in (0, 1))
    first = np.asarray(rows[0][column])
    whole = np.zeros((height, width, *first.shape[2:]), first.dtype)
    for row in rows:
        x, y = place(row)
        whole[y : y + side, x : x + side] = np.asarray(row[column])
    return whole


# DOTA and FAIR1M


def test_a_tile_has_the_pixels_and_the_name_of_its_place(dota, load):
    rows = load("dota", "v1.0_tiles", dota, scales=(1.0,), **TILES)
    assert [place(row) for row in rows] == PLACES
    pixels = np.asarray(Image.open(dota / "train/images/P0.png"))
    for row in rows:
        x, y = place(row)
        assert row["image_id"] == f"P0__32__{x}___{y}"
        assert row["tile"] == {"source_id": "P0", "x": x, "y": y, "size": 32}
        assert (row["width"], row["height"]) == row["image"].size == (32, 32)
        np.testing.assert_array_equal(np.asarray(row["image"]), pixels[y : y + 32, x : x + 32])
        assert (row["image_source"], row["gsd"]) == ("GoogleEarth", 0.25)


def test_objects_are_moved_not_clipped_and_those_that_are_cut_are_marked(dota, load):
    rows = {place(row): row["objects"] for row in load("dota", "v2.0_tiles", dota, **TILES)}
    first, cut = rows[0, 0], rows[28, 8]
    assert first["polygon"] == [list(POLYGONS[0])]
    assert (first["difficult"], first["category"], first["id"]) == ([1], [6], [0])
    assert cut["polygon"] == [[23, 10.5, 41.5, 17, 23, 23.5, 4.5, 17]]
    assert cut["bbox"] == [[4.5, 10.5, 37, 13]]
    assert cut["area"] == [18.5 * 13]  # as annotated, not of the part
    assert (cut["difficult"], cut["category"], cut["id"]) == ([CUT], [5], [1])


def test_the_share_that_is_kept_can_be_set(dota, load):
    # Left of 56 lies 73 % of the second polygon, left of 60 87 %.
    found = [place(row) for row in load("dota", "v2.0_tiles", dota, **TILES, min_kept=0.8)]
    assert found == [(0, 0), (28, 0), (28, 8)]


def test_tiles_without_objects_are_left_out_unless_asked_for_or_unlabelled(dota, load):
    everything = load("dota", "v2.0_tiles", dota, **TILES, keep_empty=True)
    assert len(everything) == 12  # P1 has no objects
    assert len(load("dota", "v2.0_tiles", dota, split="test", **TILES)) == 6


def test_a_split_whose_tiles_are_all_left_out_is_an_error_that_names_the_option(dota, load):
    for path in (dota / "train").rglob("*.txt"):
        path.write_text("")
    with pytest.raises(AnnotationError, match="split 'train' .*; keep_empty=True keeps tiles"):
        load("dota", "v2.0_tiles", dota, **TILES)
    assert len(load("dota", "v2.0_tiles", dota, split="validation", **TILES)) > 0


@pytest.mark.parametrize("lines", ["", dota_line(0, "ship")])
def test_a_test_image_gives_all_its_tiles_whatever_its_label_file_holds(dota, load, lines):
    write_text(dota / "test/annfiles/P3.txt", lines)
    assert len(load("dota", "v2.0_tiles", dota, split="test", **TILES)) == 6


def test_a_labelled_test_image_of_fair1m_gives_all_its_tiles(tmp_path, load):
    root = write_fair1m(tmp_path / "FAIR1M")
    write_text(root / "test/labelXml/0.xml", fair1m_xml())
    assert len(load("fair1m", "v2.0_tiles", root, split="test", **TILES)) == 6


def test_a_picture_smaller_than_a_tile_is_padded_with_the_mean_colour(dota, load):
    (row,) = load("dota", "v2.0_tiles", dota, tile_size=64, overlap=8)
    pixels = np.asarray(row["image"])
    assert pixels.shape == (64, 64, 3)
    assert (pixels[40:] == (124, 116, 104)).all()
    assert (pixels[:, 60:] == (124, 116, 104)).all()
    assert row["objects"]["difficult"] == [1, CUT]  # the second one reaches to 69.5


def test_tiles_of_gray_pictures_are_rgb(dota, load):
    rows = load("dota", "v2.0_tiles", dota, **TILES, keep_empty=True)
    gray = [row for row in rows if row["tile"]["source_id"] == "P1"]
    pixels = np.asarray(gray[0]["image"])
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    assert gray[0]["image"].mode == "RGB"


def test_scales_give_windows_of_other_sizes_without_resizing(dota, load):
    rows = load("dota", "v1.0_tiles", dota, tile_size=16, overlap=4, scales=(0.5, 1.0))
    assert {row["tile"]["size"] for row in rows} == {32, 16}
    pixels = np.asarray(Image.open(dota / "train/images/P0.png"))
    for row in rows:
        (x, y), size = place(row), row["tile"]["size"]
        np.testing.assert_array_equal(np.asarray(row["image"]), pixels[y : y + size, x : x + size])
    assert len({row["image_id"] for row in rows}) == len(rows)


def test_moving_back_by_the_origin_gives_the_annotation(dota, load):
    originals = dict(enumerate(POLYGONS))
    for row in load("dota", "v1.0_tiles", dota, tile_size=24, overlap=12, scales=(0.5, 1.0)):
        for number, polygon in zip(row["objects"]["id"], row["objects"]["polygon"], strict=True):
            assert tuple(np.add(polygon, place(row) * 4)) == originals[number]


def test_the_defaults_are_those_of_the_finetuning():
    configs = get_builder("dota").builder_configs
    first, second = configs["v1.0_tiles"], configs["v2.0_tiles"]
    assert (first.tile_size, first.overlap, first.scales) == (1024, 500, (0.5, 1.0, 1.5))
    assert (second.tile_size, second.overlap, second.scales) == (1024, 200, (1.0,))
    assert (first.min_kept, first.min_image, first.keep_empty) == (0.7, 0.6, False)
    fair1m = get_builder("fair1m").builder_configs["v2.0_tiles"]
    assert (fair1m.tile_size, fair1m.overlap, fair1m.scales) == (800, 200, (1.0,))
    assert get_builder("xview").builder_configs["all_tiles"].tile_size == 416
    assert get_builder("levir_cd").builder_configs["all_tiles"].tile_size == 256
    assert get_builder("oscd").builder_configs["rgb_tiles"].tile_size == 96
    assert get_builder("whu_cd").builder_configs["split_7_1_2_tiles"].tile_size == 256


def test_fair1m_is_cut_by_the_same_rule(tmp_path, load):
    root = write_fair1m(tmp_path / "FAIR1M")
    rows = load("fair1m", "v2.0_tiles", root, **TILES)
    assert [place(row) for row in rows] == PLACES
    assert rows[0]["image_id"] == "train_0__32__0___0"
    assert rows[0]["tile"]["source_id"] == "train_0"
    assert rows.features["tile"] == datasets.Features(
        {"source_id": datasets.Value("string")}
        | {name: datasets.Value("int32") for name in ("x", "y", "size")}
    )


# Options, streaming, processes, errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": 8}, "tile_size=8; expected 16 or more"),
        ({"overlap": 1024}, "overlap=1024; expected 0 to 1023"),
        ({"overlap": -1}, "overlap=-1"),
        ({"scales": ()}, r"scales=\(\); expected some numbers above 0"),
        ({"scales": (1.0, 0.0)}, r"scales=\(1.0, 0.0\)"),
        ({"scales": (1.0, 65.0)}, "such that tile_size / scale is 16 or more"),
        ({"min_kept": 70}, "min_kept=70; expected a share of 0 to 1"),
        ({"min_image": -0.1}, "min_image=-0.1"),
    ],
)
def test_options_that_cannot_be_right_are_refused(dota, load, options, message):
    with pytest.raises(ValueError, match=message):
        load("dota", "v1.0_tiles", dota, **options)


def test_options_of_tiles_are_none_of_whole_images(dota, load):
    with pytest.raises(ValueError, match="has no option 'tile_size' in config 'v1.0'"):
        load("dota", "v1.0", dota, tile_size=512)
    with pytest.raises(ValueError, match="has no option 'overlap' in config 'all_tiles'"):
        load("levir_cd", "all_tiles", dota, overlap=3)


def test_other_options_are_prepared_anew(dota, load):
    assert len(load("dota", "v2.0_tiles", dota, **TILES)) == 5
    assert len(load("dota", "v2.0_tiles", dota, tile_size=40, overlap=8)) == 2
    assert len(load("dota", "v2.0_tiles", dota, **TILES)) == 5


def test_streamed_tiles_and_those_of_two_processes_are_the_prepared_ones(dota, load, tmp_path):
    rows = list(load("dota", "v2.0_tiles", dota, **TILES, keep_empty=True))
    streamed = load("dota", "v2.0_tiles", dota, **TILES, keep_empty=True, streaming=True)
    other = {"cache_dir": tmp_path / "other", "num_proc": 2}
    shared = load("dota", "v2.0_tiles", dota, **TILES, keep_empty=True, **other)
    for others in (list(streamed), list(shared)):
        assert [row["image_id"] for row in others] == [row["image_id"] for row in rows]
        assert [row["objects"] for row in others] == [row["objects"] for row in rows]
        np.testing.assert_array_equal(
            np.asarray(others[-1]["image"]), np.asarray(rows[-1]["image"])
        )


def test_few_tiles_are_held_before_they_are_written(dota, load):
    open_it = get_builder("dota")
    assert open_it(config_name="v2.0_tiles", data_dir=str(dota))._writer_batch_size == 2
    assert open_it(config_name="v2.0", data_dir=str(dota))._writer_batch_size is None
    rows = load("dota", "v2.0_tiles", dota, **TILES, keep_empty=True)
    assert [batch.num_rows for batch in rows.data.table.to_batches()] == [2] * 6


def test_a_cut_image_is_an_error_or_left_out_with_all_its_tiles(dota, load):
    path = dota / "train/images/P0.png"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AnnotationError, match=r"P0\.png: the image file is damaged"):
        load("dota", "v2.0_tiles", dota, **TILES)
    rows = load("dota", "v2.0_tiles", dota, **TILES, on_error="skip", keep_empty=True)
    assert {row["tile"]["source_id"] for row in rows} == {"P1"}


def test_a_broken_label_and_a_bomb_are_errors_of_tiles_too(dota, load):
    with pytest.raises(AnnotationError, match=r"P0\.png: .* 60 x 40 pixels; expected at most"):
        load("dota", "v2.0_tiles", dota, **TILES, max_pixels=2399)
    write_text(dota / "train/labelTxt/P0.txt", "1 2 3 4 5 6 7 8 zeppelin 0\r\n")
    with pytest.raises(AnnotationError, match=r"P0\.txt, line 1: class name 'zeppelin'"):
        load("dota", "v2.0_tiles", dota, **TILES)


# xView


def test_an_object_of_xview_is_in_the_tile_with_its_centre_and_clipped(tmp_path, load):
    root = write_xview(tmp_path / "xView")
    options = {"tile_size": 20, "num_train": 845}
    found = {}
    for row in load("xview", "all_tiles", root, **options):
        if row["tile"]["source_id"] == "10":
            found[place(row)] = row["objects"]
    # Boxes 10 5 30 13 and 32 18 70 32 in 60 x 40: the second one is clipped to 60 first, so its
    # centre is (46, 25); tiles start at 0, 20, 40 and 0, 20.
    assert set(found) == {(20, 0), (40, 20)}
    assert found[20, 0]["bbox"] == [[0, 5, 10, 8]]
    assert found[20, 0]["area"] == [80]
    assert found[40, 20]["bbox"] == [[0, 0, 19, 12]]  # up to the last pixel, 19
    assert found[40, 20]["category"] == [59]


def test_a_picture_of_xview_smaller_than_a_tile_is_padded_with_gray(tmp_path, load):
    row = load("xview", "all_tiles", write_xview(tmp_path / "xView"), tile_size=64)[0]
    pixels = np.asarray(row["image"])
    assert (pixels[40:] == 128).all()
    assert (pixels[:, 60:] == 128).all()
    assert not (pixels[:40, :60] == 128).all()


def test_empty_tiles_of_xview_are_kept_if_asked_for(tmp_path, load):
    root = write_xview(tmp_path / "xView")
    few = load("xview", "all_tiles", root, tile_size=20)
    every = load("xview", "all_tiles", root, tile_size=20, keep_empty=True)
    assert len(every) == 6 * len({row["tile"]["source_id"] for row in every})
    assert len(few) < len(every)


# Change pairs


def test_tiles_of_a_pair_put_together_are_the_pair(tmp_path, load):
    root = write_levir(tmp_path / "LEVIR")
    wholes = load("levir_cd", "all", root, split="train+validation+test")
    tiles = load("levir_cd", "all_tiles", root, split="train+validation+test", tile_size=16)
    assert len(tiles) == 4 * len(wholes) == 24
    for whole in wholes:
        rows = [row for row in tiles if row["tile"]["source_id"] == whole["image_id"]]
        assert [place(row) for row in rows] == [(0, 0), (16, 0), (0, 16), (16, 16)]
        for column in ("image", "image_post", "mask"):
            np.testing.assert_array_equal(put_together(rows, column), np.asarray(whole[column]))


def test_padding_of_a_pair_is_black_and_ignored_in_the_map(tmp_path, load):
    rows = list(load("levir_cd", "all_tiles", write_levir(tmp_path / "LEVIR"), tile_size=24))[:4]
    for column in ("image", "image_post"):
        pixels = put_together(rows, column)
        assert pixels.shape == (48, 48, 3)
        assert not pixels[32:].any()
        assert not pixels[:, 32:].any()
    change_map = put_together(rows, "mask")
    assert (change_map[32:] == 255).all()
    assert (change_map[:, 32:] == 255).all()
    assert set(np.unique(change_map[:32, :32])) == {0, 1}


@pytest.mark.parametrize("source", ["rgb", "pair"])
def test_tiles_of_cities_put_together_are_the_cities(tmp_path, load, source):
    root = write_oscd(tmp_path / "oscd")
    for split in ("train", "test"):
        wholes = load("oscd", source, root, split)
        tiles = list(load("oscd", f"{source}_tiles", root, split, tile_size=20))
        for whole in wholes:
            rows = [row for row in tiles if row["tile"]["source_id"] == whole["image_id"]]
            width, height = whole["width"], whole["height"]
            assert len(rows) == -(-width // 20) * -(-height // 20)
            for column in ("image", "image_post", "mask"):
                found = put_together(rows, column)[:height, :width]
                np.testing.assert_array_equal(found, np.asarray(whole[column]))


def test_a_damaged_pair_is_an_error_or_left_out_with_all_its_tiles(tmp_path, load):
    root = write_levir(tmp_path / "LEVIR")
    path = root / "B" / "train_2.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(AnnotationError, match=r"train_2\.png"):
        load("levir_cd", "all_tiles", root, tile_size=16)
    rows = load("levir_cd", "all_tiles", root, tile_size=16, on_error="skip")
    assert {row["tile"]["source_id"] for row in rows} == {"train_1", "train_10"}


# Shared


def test_tile_files_lose_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for part in (pixels, pixels[..., 0], pixels[2:9, 3:8]):
        found = np.asarray(Image.open(io.BytesIO(encode_tile(part))))
        np.testing.assert_array_equal(found, part)


def test_tiles_of_a_plain_config_class_are_grids_of_256():
    assert TilesConfig(name="x").tile_size == 256
    with pytest.raises(ValueError, match="tile_size=0"):
        TilesConfig(name="x", tile_size=0)
    with pytest.raises(ValueError, match="overlap=40"):
        SlidingTilesConfig(name="x", tile_size=32, overlap=40)


def test_every_object_of_the_published_samples_is_whole_in_some_tile(shared_dir, load):
    root = shared_dir / "data/samples/dota"
    options = {"tile_size": 512, "overlap": 200, "split": "train+validation"}
    tiles = load("dota", "v2.0_tiles", root, **options)
    for whole in load("dota", "v2.0", root, split="train+validation"):
        pixels = np.asarray(whole["image"].convert("RGB"))
        height, width = pixels.shape[:2]
        seen = {}
        for row in (r for r in tiles if r["tile"]["source_id"] == whole["image_id"]):
            x, y = place(row)
            found = np.asarray(row["image"])[: height - y, : width - x]
            np.testing.assert_array_equal(found, pixels[y : y + 512, x : x + 512])
            for number, difficult in zip(
                row["objects"]["id"], row["objects"]["difficult"], strict=True
            ):
                seen.setdefault(number, []).append(difficult)
        corners = np.reshape(whole["objects"]["polygon"], (-1, 4, 2))
        inside = ((corners >= 0) & (corners <= (width, height))).all((1, 2))
        inside &= np.array(whole["objects"]["area"]) > 0
        small = (np.ptp(corners, axis=1) <= 200).all(1)
        assert inside.sum() > 50
        for number in np.flatnonzero(inside & small):
            assert min(seen[number]) < CUT
