"""Where copies of a set of pairs keep their files, and what a pair becomes."""

import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from datasets.utils import logging as datasets_logging
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mtp_hf.dataset_scripts._change_pairs import ROLES, SPLITS, find_pairs, read_pair
from mtp_hf.dataset_scripts._readers import AnnotationError
from tests.fakes_change import (
    LEVIR_IDS,
    change_map,
    pictures,
    write_levir,
    write_pair,
    write_pairs,
    write_picture,
)
from tests.fakes_own import write_bands

IDS = {
    "train": ["train_1", "train_10", "train_2"],
    "validation": ["val_1"],
    "test": ["test_1", "test_2"],
}


def ids(splits):
    return {split: [pair.image_id for pair in pairs] for split, pairs in splits.items()}


@pytest.fixture
def warnings(caplog):
    datasets_logging.enable_propagation()
    yield caplog
    datasets_logging.disable_propagation()


@pytest.mark.parametrize("layout", ["flat", "split_first", "split_last"])
@pytest.mark.parametrize("above", ["", "LEVIR-CD", "data/LEVIR-CD"])
def test_every_layout_makes_the_same_splits(tmp_path, layout, above):
    write_levir(tmp_path / above, layout)
    splits = find_pairs(tmp_path)
    assert ids(splits) == IDS
    ((_, row),) = read_pair(splits["test"][1])
    assert row["image_id"] == "test_2"
    assert np.array_equal(np.asarray(Image.open(row["image"])), pictures(seed=1)[0])
    assert np.array_equal(np.asarray(Image.open(row["image_post"])), pictures(seed=1)[1])


@pytest.mark.parametrize("place", ["list", "lists", "."])
def test_list_files_decide_over_names(tmp_path, place):
    write_levir(tmp_path, "list")
    if place != "list":
        (tmp_path / place).mkdir(exist_ok=True)
        for file in (tmp_path / "list").iterdir():
            shutil.move(file, tmp_path / place / file.name)
        (tmp_path / "list").rmdir()
    expected = {split: sorted(f"x{i}" for i in stems) for split, stems in IDS.items()}
    assert ids(find_pairs(tmp_path)) == expected


def test_lists_may_leave_images_out_and_repeat_them_but_say_so(tmp_path, warnings):
    write_levir(tmp_path, "list")
    (tmp_path / "list" / "test.txt").write_text("xtest_1\nxval_1\n")
    assert ids(find_pairs(tmp_path))["test"] == ["xtest_1", "xval_1"]
    assert "1 images are in the lists of more than one split" in warnings.text
    assert "1 of 6 images are in no list and left out" in warnings.text


def test_an_image_of_a_list_that_is_not_there_fails_when_read(tmp_path):
    write_levir(tmp_path, "list")
    (tmp_path / "list" / "val.txt").write_text("nothing\n")
    (pair,) = find_pairs(tmp_path)["validation"]
    with pytest.raises(AnnotationError, match=r"image 'nothing': .*A/nothing: no such file"):
        list(read_pair(pair))


@pytest.mark.parametrize("index", range(7))
def test_folders_may_have_other_names(tmp_path, index):
    names = tuple(aliases[index] for aliases in ROLES.values())
    write_pairs(tmp_path / "train", ["1"], names=names)
    assert ids(find_pairs(tmp_path)) == {"train": ["1"]}


@pytest.mark.parametrize("name", [alias for names in SPLITS.values() for alias in names])
def test_split_folders_may_have_other_names_in_any_case(tmp_path, name):
    write_pairs(tmp_path / name.capitalize(), ["1"], names=("a", "b", "Label"))
    (split,) = find_pairs(tmp_path)
    assert name in SPLITS[split]


@pytest.mark.parametrize("suffixes", [(".png", ".jpg", ".tif"), (".TIF", ".tiff", ".png")])
def test_suffixes_may_differ_within_a_pair(tmp_path, suffixes):
    paths = (tmp_path / "train" / n / f"1{s}" for n, s in zip("AB", suffixes[:2], strict=True))
    write_pair((*paths, tmp_path / "train" / "label" / f"1{suffixes[2]}"))
    (pair,) = find_pairs(tmp_path)["train"]
    ((key, row),) = read_pair(pair)
    assert key == "1"
    assert row["image_post"].endswith(suffixes[1])


def test_a_row_has_paths_sizes_and_an_eight_bit_map_of_zero_and_one(tmp_path):
    write_pair(tuple(tmp_path / "test" / n / "x.png" for n in ("A", "B", "label")), size=(24, 40))
    (pair,) = find_pairs(tmp_path)["test"]
    ((_, row),) = read_pair(pair)
    assert (row["height"], row["width"]) == (24, 40)
    mask = Image.open(io.BytesIO(row["mask"]["bytes"]))
    assert (mask.mode, mask.format, mask.size) == ("L", "PNG", (40, 24))
    assert np.array_equal(np.asarray(mask), change_map((24, 40)))


@pytest.mark.parametrize("name", ["A", "B", "label"])
@pytest.mark.parametrize("layout", ["flat", "split_first"])
def test_a_missing_partner_is_named_when_its_pair_is_read(tmp_path, name, layout):
    write_levir(tmp_path, layout)
    (file,) = tmp_path.rglob(f"{name}/test_1.png")
    file.unlink()
    pairs = find_pairs(tmp_path)["test"]
    assert len(pairs) == 2
    with pytest.raises(AnnotationError, match=rf"image 'test_1': .*/{name}/test_1: no such file"):
        list(read_pair(pairs[0]))
    assert len(list(read_pair(pairs[1]))) == 1


@pytest.mark.parametrize("name", ["B", "label"])
def test_a_part_of_another_size_is_an_error(tmp_path, name):
    write_levir(tmp_path)
    pixels = np.zeros((32, 31) if name == "label" else (32, 31, 3), np.uint8)
    write_picture(tmp_path / name / "test_1.png", pixels)
    with pytest.raises(
        AnnotationError, match=rf"{name}/test_1.png: 32 x 31 pixels; expected 32 x 32 \(height"
    ):
        list(read_pair(find_pairs(tmp_path)["test"][0]))


@pytest.mark.parametrize("name", ["A", "B", "label"])
def test_a_file_cut_short_is_an_error(tmp_path, name):
    write_levir(tmp_path)
    file = tmp_path / name / "val_1.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(AnnotationError, match=rf"{name}/val_1.png: .*damaged"):
        list(read_pair(find_pairs(tmp_path)["validation"][0]))


@pytest.mark.parametrize("layout", ["flat", "split_first", "split_last", "list"])
def test_a_test_split_may_have_no_labels(tmp_path, layout, warnings):
    write_levir(tmp_path, layout)
    for file in tmp_path.rglob("label/**/*test_*.png"):
        file.unlink()
    splits = find_pairs(tmp_path)
    rows = [row for pair in splits["test"] for _, row in read_pair(pair)]
    assert [(row["mask"], row["height"]) for row in rows] == [(None, 32), (None, 32)]
    assert all(pair.mask for pair in splits["train"])
    assert "no labels of split 'test'; its rows have no mask" in warnings.text


@pytest.mark.parametrize("layout", ["split_first", "split_last"])
def test_a_test_split_may_have_no_folder_of_labels(tmp_path, layout):
    write_levir(tmp_path, layout)
    shutil.rmtree(tmp_path / ("test/label" if layout == "split_first" else "label/test"))
    assert [pair.mask for pair in find_pairs(tmp_path)["test"]] == [None, None]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pictures_of_many_bands_show_three_of_them(tmp_path, dtype):
    for role in ("A", "B"):
        write_bands(tmp_path / role / "1.tif", 6, dtype)
    write_picture(tmp_path / "label" / "1.png", np.zeros((40, 60), np.uint8))
    (pair,) = find_pairs(tmp_path, lambda image_ids: {"train": image_ids})["train"]
    ((_, row),) = read_pair(pair, bands=[6, 4, 2])
    for column in ("image", "image_post"):
        picture = Image.open(io.BytesIO(row[column]["bytes"]))
        assert (picture.mode, picture.size) == ("RGB", (60, 40))
    with pytest.raises(AnnotationError, match=r"1\.tif: 6 bands of .*option bands"):
        list(read_pair(pair))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pictures_of_16_bits_become_8(tmp_path, suffix):
    pixels = np.linspace(0, 4000, 32 * 32).reshape(32, 32).astype(np.uint16)
    for role in ("A", "B"):
        write_picture(tmp_path / role / f"1{suffix}", pixels)
    write_picture(tmp_path / "label" / "1.png", change_map())
    (pair,) = find_pairs(tmp_path, lambda image_ids: {"train": image_ids})["train"]
    ((_, row),) = read_pair(pair)
    found = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
    assert (found.shape, found.dtype, found.min(), found.max()) == ((32, 32, 3), np.uint8, 0, 255)


@pytest.mark.parametrize(("missing", "layout"), [("B", "flat"), ("label", "split_first")])
def test_a_missing_folder_is_an_error_that_lists_its_names(tmp_path, missing, layout):
    write_levir(tmp_path, layout)
    for folder in list(tmp_path.rglob(missing)):
        shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=rf"no folder '{missing}'; expected it, or one of"):
        find_pairs(tmp_path)


def test_a_split_folder_missing_on_one_side_is_an_error(tmp_path):
    write_levir(tmp_path, "split_last")
    shutil.rmtree(tmp_path / "B" / "val")
    with pytest.raises(FileNotFoundError, match="split 'validation': no folder 'B'"):
        find_pairs(tmp_path)


def test_a_name_of_an_unknown_split_is_an_error(tmp_path):
    write_levir(tmp_path)
    write_pairs(tmp_path, ["tset_3"])
    with pytest.raises(
        AnnotationError, match=r"1 of 7 images belong to no split, first 'tset_3'; expected folders"
    ):
        find_pairs(tmp_path)


def test_a_split_is_drawn_only_if_no_name_tells_one(tmp_path):
    write_pairs(tmp_path, ["1", "2", "3"])
    drawn = find_pairs(tmp_path, lambda image_ids: {"train": image_ids[1:], "test": image_ids[:1]})
    assert ids(drawn) == {"train": ["2", "3"], "test": ["1"]}
    write_pairs(tmp_path, ["train_1"])
    with pytest.raises(AnnotationError, match="3 of 4 images belong to no split"):
        find_pairs(tmp_path, lambda image_ids: {"train": image_ids})


def test_several_sets_under_one_root_are_an_error(tmp_path):
    for name in ("one", "two"):
        write_levir(tmp_path / name)
    with pytest.raises(AnnotationError, match="several sets, .*one, .*two; expected one"):
        find_pairs(tmp_path)


def test_two_layouts_at_once_are_an_error(tmp_path):
    write_levir(tmp_path, "flat")
    write_levir(tmp_path, "split_first")
    with pytest.raises(AnnotationError, match="expected one of the two layouts"):
        find_pairs(tmp_path)


def test_a_folder_without_pairs_is_an_error_that_says_what_is_expected(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="found 'images'; expected folders A, B and label"):
        find_pairs(tmp_path)


def test_two_files_of_one_id_are_an_error(tmp_path):
    write_levir(tmp_path)
    write_picture(tmp_path / "A" / "val_1.jpg", pictures()[0])
    with pytest.raises(ValueError, match="image id 'val_1' is also that of"):
        find_pairs(tmp_path)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.sampled_from([(n, i) for n in ("A", "B", "label") for i in IDS["train"]])))
def test_exactly_the_pairs_without_a_missing_file_are_read(removed):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pairs(root / "train", IDS["train"])
        for name, stem in removed:
            (root / "train" / name / f"{stem}.png").unlink()
        left = {i for i in IDS["train"] if len({n for n, s in removed if s == i}) < 3}
        broken = {stem for _, stem in removed}
        pairs = find_pairs(root)["train"]
        assert [pair.image_id for pair in pairs] == sorted(left)
        for pair in pairs:
            if pair.image_id in broken:
                with pytest.raises(AnnotationError, match=f"'{pair.image_id}': .*no such file"):
                    list(read_pair(pair))
            else:
                assert [key for key, _ in read_pair(pair)] == [pair.image_id]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_as_a_list_are_ids_or_an_error_that_names_the_file(content):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pairs(root, ["a"])
        (root / "list").mkdir()
        (root / "list" / "train.txt").write_bytes(content)
        try:
            pairs = find_pairs(root)["train"]
        except AnnotationError as error:
            assert "list/train.txt" in str(error)
            return
        for pair in pairs:
            if pair.image_id != "a":
                with pytest.raises(AnnotationError):
                    list(read_pair(pair))


def test_all_written_ids_are_found():
    assert {split: sorted(i) for split, i in zip(IDS, LEVIR_IDS.values(), strict=True)} == IDS
