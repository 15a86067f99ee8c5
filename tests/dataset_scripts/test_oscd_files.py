"""Where the cities of OSCD lie, and which split they belong to."""

import shutil

import pytest
from datasets.utils import logging as datasets_logging
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtp_hf.dataset_scripts._oscd_files import OSCD_CITIES, find_cities
from mtp_hf.dataset_scripts._readers import AnnotationError
from tests.fakes_change import write_oscd

IMAGES = "Onera Satellite Change Detection dataset - Images"
TRAIN_LABELS = "Onera Satellite Change Detection dataset - Train Labels"
TEST_LABELS = "Onera Satellite Change Detection dataset - Test Labels"
NAMES = {"train": ["paris", "saclay_e"], "test": ["rio"]}


def names(splits):
    return {split: [city.image_id for city in cities] for split, cities in splits.items()}


@pytest.fixture
def root(tmp_path):
    return write_oscd(tmp_path / "oscd")


@pytest.fixture
def warnings(caplog):
    datasets_logging.enable_propagation()
    yield caplog
    datasets_logging.disable_propagation()


def test_there_are_fourteen_and_ten_cities_and_none_in_both():
    assert {split: len(cities) for split, cities in OSCD_CITIES.items()} == {
        "train": 14,
        "test": 10,
    }
    assert len(set(OSCD_CITIES["train"]) | set(OSCD_CITIES["test"])) == 24


def test_cities_are_found_in_folders_whose_names_have_blanks(root):
    splits = find_cities(root)
    assert names(splits) == NAMES
    assert splits["test"][0].folder == str(root / IMAGES / "rio")
    assert splits["test"][0].change_map == str(root / TEST_LABELS / "rio/cm/cm.png")


@pytest.mark.parametrize("above", [".", "oscd"])
def test_folders_may_be_renamed_and_lie_deeper(tmp_path, root, above):
    moved = tmp_path / "copy" / above
    moved.mkdir(parents=True)
    for old, new in ((IMAGES, "images"), (TRAIN_LABELS, "labels_train"), (TEST_LABELS, "gt")):
        shutil.move(root / old, moved / new)
    splits = find_cities(tmp_path / "copy")
    assert names(splits) == NAMES
    assert splits["train"][0].change_map == str(moved / "labels_train/paris/cm/cm.png")


def test_maps_may_lie_beside_the_pictures(root):
    for city, labels in (("paris", TRAIN_LABELS), ("saclay_e", TRAIN_LABELS), ("rio", TEST_LABELS)):
        shutil.move(root / labels / city / "cm", root / IMAGES / city / "cm")
    shutil.rmtree(root / TRAIN_LABELS)
    splits = find_cities(root)
    assert splits["train"][1].change_map == str(root / IMAGES / "saclay_e/cm/cm.png")


@pytest.mark.parametrize("spelling", ["saclay e", "Saclay-E", "SACLAY_E"])
def test_a_city_may_be_spelt_differently_in_each_place(root, spelling):
    (root / IMAGES / "saclay_e").rename(root / IMAGES / spelling)
    (root / IMAGES / "train.txt").write_text("\ufeffparis , Saclay_E,\r\n", encoding="utf-8")
    splits = find_cities(root)
    assert names(splits)["train"] == ["Saclay_E", "paris"]
    assert splits["train"][0].folder == str(root / IMAGES / spelling)


def test_the_tiff_is_taken_where_there_is_no_png(tmp_path, root):
    assert not find_cities(root)["test"][0].is_one_unchanged
    other = find_cities(write_oscd(tmp_path / "other", ".tif"))["test"][0]
    assert other.is_one_unchanged
    assert other.change_map.endswith("rio/cm/rio-cm.tif")


def test_the_tiff_may_have_the_longer_suffix(tmp_path):
    file = write_oscd(tmp_path, ".tif") / TEST_LABELS / "rio/cm/rio-cm.tif"
    file.rename(file.with_suffix(".TIFF"))
    assert find_cities(tmp_path)["test"][0].is_one_unchanged


def test_without_lists_the_published_splits_hold(root, warnings):
    for split in NAMES:
        (root / IMAGES / f"{split}.txt").unlink()
    assert names(find_cities(root)) == NAMES
    assert "cities are split as published" in warnings.text


def test_one_list_alone_makes_one_split(root):
    shutil.rmtree(root / IMAGES / "rio")
    (root / IMAGES / "test.txt").unlink()
    assert names(find_cities(root)) == {"train": NAMES["train"]}


def test_a_listed_city_that_is_not_there_is_kept_to_fail_when_read(root):
    (root / IMAGES / "paris").rename(root / "elsewhere")
    shutil.rmtree(root / "elsewhere")
    assert find_cities(root)["train"][0].folder == str(root / "paris")


def test_labels_of_a_split_that_were_not_downloaded_leave_no_maps(root, warnings):
    shutil.rmtree(root / TEST_LABELS)
    assert [city.change_map for city in find_cities(root)["test"]] == [None]
    assert "no labels of split 'test'; its rows have no mask" in warnings.text


def test_one_missing_map_among_others_is_kept_to_fail_when_read(root):
    (root / TRAIN_LABELS / "saclay_e/cm/cm.png").unlink()
    paris, saclay = find_cities(root)["train"]
    assert paris.change_map == str(root / TRAIN_LABELS / "paris/cm/cm.png")
    assert saclay.change_map == str(root / "saclay_e/cm/cm.png")


def test_a_city_of_no_split_is_an_error(root):
    (root / IMAGES / "train.txt").write_text("paris")
    with pytest.raises(AnnotationError, match="saclay_e: the city is in no split; expected it in"):
        find_cities(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "train.txt: the list is empty; expected names of cities"),
        (b" ,\n,", "train.txt: the list is empty"),
        (b"paris,saclay_e,Paris", "train.txt: a city is listed twice"),
        (b"\xff\xfe\x00", "train.txt: not a text file"),
    ],
)
def test_a_list_that_cannot_be_right_is_an_error(root, content, message):
    (root / IMAGES / "train.txt").write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        find_cities(root)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=30))
def test_any_bytes_as_a_list_are_names_or_an_error_that_names_a_file(root, content):
    (root / IMAGES / "test.txt").write_bytes(content)
    try:
        cities = find_cities(root)["test"]
    except (AnnotationError, FileNotFoundError) as error:
        assert str(root) in str(error)
    else:
        assert cities


def test_a_city_that_is_there_twice_is_an_error(root):
    shutil.copytree(root / IMAGES / "rio", root / "copy" / "rio")
    with pytest.raises(AnnotationError, match="rio: the same city as .*expected every city once"):
        find_cities(root)


def test_copies_that_mac_os_adds_do_not_count(root):
    shutil.copytree(root / IMAGES / "rio", root / "__MACOSX" / "rio")
    assert names(find_cities(root)) == NAMES


def test_a_folder_without_cities_is_an_error_that_says_what_is_expected(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="no folder of a city; expected some that hold"):
        find_cities(tmp_path)
