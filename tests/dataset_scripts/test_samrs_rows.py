"""Rows of single images: exact values, the rule for empty images, and every broken file."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts._readers import AnnotationError
from mtp_hf.dataset_scripts._samrs_layout import find_layout
from mtp_hf.dataset_scripts._samrs_rows import SamrsRowReader
from mtp_hf.dataset_scripts.samrs import SAMRS_CLASSES, SAMRS_TASKS
from tests.fakes import (
    HAND_BOXES,
    HAND_CLASSES,
    HAND_POLYGONS,
    HEIGHT,
    SAMRS_FOLDERS,
    WIDTH,
    box_path,
    gray_path,
    hand_instance,
    image_path,
    pickle_path,
    write_annotations,
    write_image,
    write_pickle,
    write_samrs_by_hand,
)

CONFIGS = sorted(SAMRS_FOLDERS)


def reader(folder: Path, config: str, tasks: tuple[str, ...] | None = None) -> SamrsRowReader:
    return SamrsRowReader(
        find_layout(config, folder), SAMRS_CLASSES[config], tasks or SAMRS_TASKS[config]
    )


def row(folder: Path, config: str, stem: str = "a", tasks: tuple[str, ...] | None = None) -> dict:
    return reader(folder, config, tasks).read(str(image_path(folder, config, stem)))


@pytest.mark.parametrize("config", CONFIGS)
def test_instances_have_the_boxes_of_their_masks_as_xywh(tmp_path, config):
    objects = row(write_samrs_by_hand(tmp_path, config), config)["objects"]
    assert objects["bbox"] == [list(map(float, box)) for box in HAND_BOXES]
    assert objects["prompt_bbox"] == objects["bbox"]
    assert objects["area"] == [20 * 8, 12 * 10]
    assert objects["category"] == [label for _, label in HAND_CLASSES[config]]
    assert objects["id"] == [0, 1]
    assert objects["iscrowd"] == [False, False]
    assert objects["segmentation"][0]["size"] == [HEIGHT, WIDTH]


@pytest.mark.parametrize("config", ["sior", "sota_rbb", "fast"])
def test_rotated_objects_keep_corners_order_and_names(tmp_path, config):
    rotated = row(write_samrs_by_hand(tmp_path, config), config)["rotated_objects"]
    assert rotated["polygon"] == [list(polygon) for polygon in HAND_POLYGONS]
    assert rotated["category"] == [label for _, label in HAND_CLASSES[config]]
    assert rotated["difficult"] == ([0, 1] if config == "sior" else [0, 0])


def test_sizes_are_those_of_the_image(tmp_path):
    found = row(write_samrs_by_hand(tmp_path, "fast"), "fast")
    assert (found["width"], found["height"], found["image_id"]) == (WIDTH, HEIGHT, "a")


def test_a_gray_map_over_the_limit_is_refused(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    rows = reader(folder, "fast")
    rows.max_pixels = WIDTH * HEIGHT
    Image.new("L", (WIDTH + 1, HEIGHT)).save(gray_path(folder, "fast", "a"))
    with pytest.raises(AnnotationError, match=r"gray/a\.png: the image claims .* max_pixels="):
        rows.read(str(image_path(folder, "fast", "a")))


def test_a_gray_map_beyond_the_limit_of_pillow_is_checked(tmp_path, monkeypatch):
    folder = write_samrs_by_hand(tmp_path, "fast")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert row(folder, "fast")["width"] == WIDTH


def test_the_gray_map_is_handed_on_unread(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    assert row(folder, "fast")["semantic_mask"] == str(gray_path(folder, "fast", "a"))


@pytest.mark.parametrize("config", CONFIGS)
def test_an_image_without_files_is_all_background_with_empty_lists(tmp_path, config):
    rows = reader(write_samrs_by_hand(tmp_path, config), config)
    found = rows.read(str(image_path(tmp_path / SAMRS_FOLDERS[config], config, "b")))
    path = tmp_path / "map.png"
    path.write_bytes(found["semantic_mask"]["bytes"])
    with Image.open(path) as gray:
        assert gray.mode == "L"
        assert np.array_equal(np.asarray(gray), np.full((HEIGHT, WIDTH), 255))
    assert set(map(len, found["objects"].values())) == {0}
    assert rows.num_background == 1


@pytest.mark.parametrize("tasks", [("ss",), ("is",), ("rd",), ("ss", "rd"), ("is", "rd")])
def test_kinds_that_were_not_asked_for_are_none(tmp_path, tasks):
    found = row(write_samrs_by_hand(tmp_path, "fast"), "fast", tasks=tasks)
    columns = {"ss": "semantic_mask", "is": "objects", "rd": "rotated_objects"}
    for task, column in columns.items():
        assert (found[column] is not None) == (task in tasks)


def test_the_two_lists_may_have_different_lengths(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    write_pickle(folder, "fast", "a", [hand_instance("fast", 1)])
    found = row(folder, "fast")
    assert len(found["objects"]["id"]) == 1
    assert len(found["rotated_objects"]["id"]) == 2


def test_an_existing_file_may_be_empty(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    box_path(folder, "fast", "a").write_text("")
    assert row(folder, "fast")["rotated_objects"]["id"] == []


def test_the_early_release_with_only_a_category_number_is_read(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "sior")
    entry = hand_instance("sior", 0) | {"category": np.int64(13)}
    del entry["label"]
    write_pickle(folder, "sior", "a", [entry])
    assert row(folder, "sior")["objects"]["category"] == [13]


def test_a_pickle_of_names_without_numbers_is_read(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    entry = hand_instance("fast", 0) | {"category": "warship", "label": None}
    write_pickle(folder, "fast", "a", [entry])
    assert row(folder, "fast")["objects"]["category"] == [36]


def test_empty_masks_and_counts_as_bytes_or_lists_are_kept(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "sior")
    empty = hand_instance("sior", 0) | {"mask": {"size": [HEIGHT, WIDTH], "counts": [2400]}}
    coded = hand_instance("sior", 0)
    coded["mask"]["counts"] = coded["mask"]["counts"].encode()
    write_pickle(folder, "sior", "a", [empty, coded])
    objects = row(folder, "sior")["objects"]
    assert objects["area"] == [0, 160]
    assert objects["bbox"][0] == [0.0, 0.0, 0.0, 0.0]
    assert all(isinstance(s["counts"], str) for s in objects["segmentation"])


def test_boxes_outside_the_image_are_kept(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    box_path(folder, "fast", "a").write_text("-9 -9 99 -9 99 99 -9 99 Warship 36\n")
    polygon = row(folder, "fast")["rotated_objects"]["polygon"][0]
    assert polygon == [-9.0, -9.0, 99.0, -9.0, 99.0, 99.0, -9.0, 99.0]


# Broken files


def failure(folder: Path, config: str, tasks: tuple[str, ...] | None = None) -> str:
    with pytest.raises(AnnotationError) as error:
        row(folder, config, "a", tasks)
    assert "image 'a'" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("kind", ["gray", "pickle", "box"])
def test_a_missing_file_of_an_image_with_objects_is_an_error(tmp_path, config, kind):
    if config == "sota" and kind == "box":
        return
    folder = write_samrs_by_hand(tmp_path, config)
    paths = {"gray": gray_path, "pickle": pickle_path, "box": box_path}
    fields = {"gray": "semantic_mask", "pickle": "objects", "box": "rotated_objects"}
    path = paths[kind](folder, config, "a")
    path.unlink()
    message = failure(folder, config)
    assert str(path.with_suffix("")) in message
    assert f"field '{fields[kind]}': found no file" in message
    assert "expected a file for an image that has objects" in message


def test_a_lost_gray_map_is_noticed_when_only_semantics_are_read(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    gray_path(folder, "fast", "a").unlink()
    assert "field 'semantic_mask': found no file" in failure(folder, "fast", ("ss",))


def test_a_gray_value_without_a_class_is_an_error(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "sior")
    gray = np.full((HEIGHT, WIDTH), 19, np.uint8)
    gray[0, 0], gray[1, 1], gray[2, 2] = 20, 254, 255
    Image.fromarray(gray).save(gray_path(folder, "sior", "a"))
    message = failure(folder, "sior")
    assert str(gray_path(folder, "sior", "a")) in message
    assert "found values [20, 254]; expected 0 to 19, or 255 for background" in message


def test_values_are_not_checked_when_switched_off(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "sior")
    Image.fromarray(np.full((HEIGHT, WIDTH), 99, np.uint8)).save(gray_path(folder, "sior", "a"))
    rows = reader(folder, "sior")
    rows.check_maps = False
    assert rows.read(str(image_path(folder, "sior", "a")))["image_id"] == "a"


def test_a_colour_picture_is_no_gray_map(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "sior")
    Image.new("RGB", (WIDTH, HEIGHT)).save(gray_path(folder, "sior", "a"))
    assert "found an image of mode 'RGB'; expected 8-bit gray" in failure(folder, "sior")


def test_a_gray_map_of_another_size_is_an_error(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "sior")
    Image.new("L", (WIDTH, HEIGHT - 1)).save(gray_path(folder, "sior", "a"))
    assert "found 39 x 60 pixels; expected 40 x 60, the size of the image" in failure(
        folder, "sior"
    )


def test_an_image_of_another_size_than_its_masks_is_an_error(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    write_image(folder, "fast", "a", size=(WIDTH, HEIGHT + 8))
    message = failure(folder, "fast", ("is",))
    assert f"{pickle_path(folder, 'fast', 'a')}, object 0, field 'mask'" in message
    assert "found size [40, 60]; expected [48, 60], height and width of the image" in message


@pytest.mark.parametrize("path_of", [image_path, gray_path])
def test_a_picture_cut_short_is_an_error(tmp_path, path_of):
    folder = write_samrs_by_hand(tmp_path, "fast")
    path = path_of(folder, "fast", "a")
    path.write_bytes(path.read_bytes()[:60])
    message = failure(folder, "fast")
    assert str(path) in message
    assert "damaged or cut short" in message


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    pickle_path(folder, "fast", "a").write_bytes(pickle.dumps([print]))
    message = failure(folder, "fast")
    assert str(pickle_path(folder, "fast", "a")) in message
    assert "wants to import builtins.print" in message


def without(key: str) -> Callable[[dict], object]:
    return lambda entry: [{k: v for k, v in entry.items() if k != key}]


def changed(**values) -> Callable[[dict], object]:
    return lambda entry: [entry | values]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda entry: entry, "field 'objects': found dict; expected a list of dicts"),
        (lambda entry: [entry, 3], "field 'objects': found list; expected a list of dicts"),
        (without("mask"), "object 0, field 'mask': found NoneType; expected a run-length mask"),
        (changed(mask={"size": [40, 60]}), "field 'mask': found dict; expected a run-length mask"),
        (
            changed(mask={"size": [40, 60], "counts": "04"}),
            "field 'mask': found runs of 4 pixels in a mask of 2400 pixels",
        ),
        (
            changed(mask={"size": [40, 60], "counts": "~"}),
            "field 'mask': found a run-length string",
        ),
        (changed(label=20), "field 'label': found 20; expected an integer from 0 to 19"),
        (changed(label=-1), "field 'label': found -1; expected an integer from 0 to 19"),
        (changed(label="13"), "field 'label': found '13'; expected an integer from 0 to 19"),
        (changed(label=12), "field 'label': found 12 with category 'ship'; expected 13"),
        (changed(category="boat"), "field 'category': found 'boat'; expected one of airplane, air"),
        (changed(category=None, label=None), "field 'label': found None; expected an integer"),
        (changed(bbox=[1, 2, 3]), "field 'bbox': found [1, 2, 3]; expected four numbers"),
    ],
)
def test_a_broken_instance_names_its_place_and_what_was_expected(tmp_path, change, expected):
    folder = write_samrs_by_hand(tmp_path, "sior")
    path = write_pickle(folder, "sior", "a", change(hand_instance("sior", 0)))
    message = failure(folder, "sior")
    assert str(path) in message
    assert expected in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 2 3 4 5 6 Warship 36", "the polygon has 3 corners; expected 4"),
        (
            "1 2 3 4 5 6 7 8 Battleship 36",
            "field 'class name': found 'Battleship'; expected one of",
        ),
        (
            "1 2 3 4 5 6 7 8 Warship 1",
            "field 'class id (tenth column)': found 1 after class name 'Warship'; expected 36",
        ),
    ],
)
def test_a_broken_box_line_names_its_place_and_what_was_expected(tmp_path, line, expected):
    folder = write_samrs_by_hand(tmp_path, "fast")
    path = box_path(folder, "fast", "a")
    path.write_text(f"1 2 3 4 5 6 7 8 Warship 36\r\n{line}\r\n")
    message = failure(folder, "fast")
    assert f"{path}, line 2" in message
    assert expected in message


def test_an_unknown_class_in_xml_names_the_object(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "sior")
    path = box_path(folder, "sior", "a")
    path.write_text(path.read_text().replace("Airplane", "Zeppelin"))
    message = failure(folder, "sior")
    assert f"{path}, object 1, field 'class name': found 'Zeppelin'" in message


def test_official_spelling_of_names_is_understood(tmp_path):
    folder = write_samrs_by_hand(tmp_path, "fast")
    write_annotations(folder, "fast", "a", (0, 1))
    box_path(folder, "fast", "a").write_text("1 2 3 4 5 6 7 8 Dry Cargo Ship 15\n")
    assert row(folder, "fast")["rotated_objects"]["category"] == [15]
