import io

import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.data.masks import decode_masks
from mtp_hf.data.samples import (
    change_row_to_sample,
    classification_row_to_sample,
    detection_row_to_sample,
    gray_map_to_labels,
    image_to_tensor,
    oriented_row_to_sample,
    samrs_row_to_sample,
    segmentation_row_to_sample,
)
from mtp_hf.data.schema import check_sample
from mtp_hf.data.transforms import finalize


def _row(encode, **changes):
    """Two instances and one polygon on an 4 x 6 image."""
    masks = np.zeros((2, 4, 6))
    masks[0, 1:3, 2:5] = 1
    masks[1, 0, 0] = 1
    row = {
        "image_id": "P0001",
        "image": Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3)),
        "semantic_mask": Image.fromarray(np.full((4, 6), 255, dtype=np.uint8)),
        "objects": {
            "category": [4, 1],
            "segmentation": [encode(m) for m in masks],
            "iscrowd": [False, False],
        },
        "rotated_objects": {"category": [3], "polygon": [[0.0, 1, 5, 1, 5, 3, 0, 3]]},
    }
    return {**row, **changes}


def test_row_becomes_a_raw_sample(encode):
    sample = samrs_row_to_sample(_row(encode), "sior", num_classes=5)
    assert sample["image"].shape == (3, 4, 6)
    assert sample["image"][:, 0, 1].tolist() == [3, 4, 5]
    assert sample["boxes"].tolist() == [[2, 1, 5, 3], [0, 0, 1, 1]]
    assert sample["class_labels"].tolist() == [4, 1]
    assert decode_masks(sample["instance_masks"]).sum(dim=(1, 2)).tolist() == [6, 1]
    assert sample["polygons"].tolist() == [[0, 1, 5, 1, 5, 3, 0, 3]]
    assert sample["rotated_class_labels"].tolist() == [3]
    assert (sample["image_id"], sample["dataset"]) == ("P0001", "sior")
    assert sample["orig_size"] == (4, 6)


def test_only_the_wanted_tasks_are_read(encode):
    row = _row(encode, objects=None, rotated_objects=None)
    sample = samrs_row_to_sample(row, "sota", tasks=["ss"])
    assert "semantic_labels" in sample
    assert not {"boxes", "instance_masks", "polygons"} & set(sample)


def test_missing_column_is_an_error(encode):
    with pytest.raises(ValueError, match="no rotated_objects"):
        samrs_row_to_sample(_row(encode, rotated_objects=None), "sota")


def test_unknown_task_is_an_error(encode):
    with pytest.raises(ValueError, match="xx"):
        samrs_row_to_sample(_row(encode), "sota", tasks=["xx"])


def test_gray_255_becomes_background_and_classes_move_up():
    gray = np.array([[0, 36, 255]], dtype=np.uint8)
    assert gray_map_to_labels(gray).tolist() == [[1, 37, 0]]
    assert gray_map_to_labels(gray).dtype == np.uint8


def test_gray_254_is_refused_instead_of_becoming_ignore():
    with pytest.raises(ValueError, match="254"):
        gray_map_to_labels(np.array([[254]], dtype=np.uint8))


def test_wide_gray_maps_are_refused():
    with pytest.raises(ValueError, match="uint16"):
        gray_map_to_labels(np.zeros((2, 2), dtype=np.uint16))


def test_objects_without_pixels_and_crowds_are_dropped_and_counted(encode):
    row = _row(encode)
    codes = [encode(np.zeros((4, 6))), *row["objects"]["segmentation"]]
    row["objects"] = {"category": [0, 1, 2], "segmentation": codes, "iscrowd": [False, True, False]}
    sample = samrs_row_to_sample(row, "sior")
    assert sample["class_labels"].tolist() == [2]
    assert len(sample["instance_masks"]) == 1
    assert sample["dropped"] == {"empty_masks": 1, "crowd": 1}


def test_rows_without_objects_have_zero_objects(encode):
    row = _row(
        encode,
        objects={"category": [], "segmentation": [], "iscrowd": []},
        rotated_objects={"category": [], "polygon": []},
    )
    sample = samrs_row_to_sample(row, "sior", num_classes=5)
    assert sample["boxes"].shape == (0, 4)
    assert decode_masks(sample["instance_masks"]).shape == (0, 4, 6)
    assert sample["polygons"].shape == (0, 8)
    assert sample["rotated_class_labels"].shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objects": {"category": [5], "segmentation": [0]}}, "objects.category"),
        ({"rotated_objects": {"category": [5], "polygon": [[0.0] * 8]}}, "rotated_objects"),
        ({"semantic_mask": Image.new("L", (6, 4), 5)}, "class 5 of 5"),
        ({"semantic_mask": Image.new("L", (4, 6), 0)}, "6x4"),
        ({"semantic_mask": Image.new("RGB", (6, 4))}, "RGB"),
    ],
)
def test_values_that_do_not_fit_are_errors(encode, changes, message):
    row = _row(encode)
    if "objects" in changes:
        changes["objects"]["segmentation"] = row["objects"]["segmentation"][:1]
    with pytest.raises(ValueError, match=message):
        samrs_row_to_sample({**row, **changes}, "sior", num_classes=5)


def test_mask_of_another_size_is_an_error(encode):
    objects = {"category": [0], "segmentation": [encode(np.ones((5, 6)))]}
    with pytest.raises(ValueError, match="coded for size"):
        samrs_row_to_sample(_row(encode, objects=objects), "sior")


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_eight_bit_modes_become_rgb(mode):
    image = Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode)
    assert (image_to_tensor(image) == 255).all()
    assert image_to_tensor(image).shape == (3, 2, 3)


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "CMYK"])
def test_modes_without_agreed_conversion_are_errors(mode):
    with pytest.raises(ValueError, match="convert first"):
        image_to_tensor(Image.new(mode, (3, 2)))


def test_undecoded_images_are_opened():
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(file, "PNG")
    image = image_to_tensor({"bytes": file.getvalue(), "path": None})
    assert torch.equal(
        image, torch.tensor([1, 2, 3], dtype=torch.uint8)[:, None, None].expand(3, 2, 3)
    )


def test_anything_else_is_not_an_image():
    with pytest.raises(ValueError, match="PIL image"):
        image_to_tensor("image.png")


def _picture(**columns):
    """A row of any family: 4 x 6 pixels and the columns of its annotations."""
    return {"image_id": "a", "image": Image.new("RGB", (6, 4)), "width": 6, "height": 4, **columns}


def _map(*levels, mode="L"):
    """A map of 4 x 6 pixels that begins with the given levels."""
    pixels = np.zeros((4, 6), dtype=np.uint8)
    pixels.flat[: len(levels)] = levels
    return Image.fromarray(pixels).convert(mode)


def _checked(sample, num_classes=None):
    check_sample(finalize(sample, np.random.default_rng(0)), num_classes)
    return sample


def test_scene_row_becomes_a_sample_with_its_label():
    sample = _checked(classification_row_to_sample(_picture(label=9), "eurosat", 10), 10)
    assert sample["label"].item() == 9
    assert (sample["image_id"], sample["dataset"], sample["orig_size"]) == ("a", "eurosat", (4, 6))


def test_a_label_beyond_the_classes_is_an_error_that_tells_the_last_one():
    with pytest.raises(ValueError, match=r"label is 8, expected 0\.\.7$"):
        classification_row_to_sample(_picture(label=8), "eurosat", 8)


@pytest.mark.parametrize("label", [None, -1, 10])
def test_scene_without_a_usable_label_is_an_error_unless_none_is_wanted(label):
    with pytest.raises(ValueError, match="label"):
        classification_row_to_sample(_picture(label=label), "eurosat", 10)
    sample = classification_row_to_sample(_picture(label=label), "eurosat", 10, labelled=False)
    assert "label" not in sample


def _boxes(*boxes, crowd=None):
    return _picture(
        objects={"bbox": list(boxes), "category": [*range(len(boxes))], "iscrowd": crowd}
    )


def test_boxes_become_two_corners_and_are_not_clipped():
    sample = _checked(detection_row_to_sample(_boxes([1, 1, 2, 3], [4, 2, 9, 1]), "dior", 2), 2)
    assert sample["boxes"].tolist() == [[1, 1, 3, 4], [4, 2, 13, 3]]
    assert sample["class_labels"].tolist() == [0, 1]


def test_crowds_and_boxes_of_any_size_are_read():
    row = _boxes([0, 0, 0.9, 3], [6, 0, 2, 2], [1, 1, 2, 2], crowd=[False, False, True])
    sample = _checked(detection_row_to_sample(row, "dior"))
    assert sample["class_labels"].tolist() == [0, 1, 2]
    assert sample["iscrowd"].tolist() == [False, False, True]


@pytest.mark.parametrize("crowd", [None, [None, None]])
def test_without_crowds_there_is_none(crowd):
    sample = detection_row_to_sample(_boxes([0, 0, 1, 1], [0, 0, 2, 2], crowd=crowd), "dior")
    assert sample["iscrowd"].tolist() == [False, False]


def test_areas_are_those_annotated_or_else_of_the_boxes():
    row = _boxes([0, 0, 2, 3], [0, 0, 2, 2])
    assert detection_row_to_sample(row, "dior")["area"].tolist() == [6.0, 4.0]
    row["objects"]["area"] = [5.0, None]
    assert detection_row_to_sample(row, "dior")["area"].tolist() == [5.0, 4.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category": [0]}, r"different lengths: {'bbox': 2, 'category': 1}"),
        ({"area": [1.0]}, r"different lengths: {'bbox': 2, 'category': 2, 'area': 1}"),
        ({"bbox": None}, "the objects have no bbox"),
    ],
)
def test_lists_of_boxes_that_do_not_fit_are_errors(changes, message):
    row = _boxes([0, 0, 2, 3], [0, 0, 2, 2])
    row["objects"] |= changes
    with pytest.raises(ValueError, match=message):
        detection_row_to_sample(row, "dior")


def test_a_row_without_boxes_has_zero_boxes():
    sample = _checked(detection_row_to_sample(_boxes(), "dior", 20), 20)
    assert sample["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    ("box", "message"),
    [([0, 0, -1, 3], "objects.bbox holds .0.0, 0.0, -1.0"), ([0, float("nan"), 1, 1], "nan")],
)
def test_impossible_boxes_are_errors(box, message):
    with pytest.raises(ValueError, match=message):
        detection_row_to_sample(_boxes(box), "dior")


def test_boxes_of_unknown_classes_are_errors():
    with pytest.raises(ValueError, match=r"objects.category holds \[0, 1\], expected 0..0$"):
        detection_row_to_sample(_boxes([0, 0, 1, 1], [0, 0, 1, 1]), "dior", 1)


def _polygons(*polygons):
    return _picture(
        objects={
            "polygon": list(polygons),
            "category": [0] * len(polygons),
            "difficult": [*range(len(polygons))],
        },
        tile={"source_id": "P0001", "x": 8, "y": 0, "size": 1024},
    )


def test_oriented_row_keeps_corners_difficulty_and_the_place_of_the_tile():
    corners = [[0.0, 1, 5, 1, 5, 3, 0, 3], [-2, 0, 9, 0, 9, 2, -2, 2]]
    sample = _checked(oriented_row_to_sample(_polygons(*corners), "dota", 15), 15)
    assert sample["polygons"].tolist() == corners
    assert sample["rotated_difficult"].tolist() == [0, 1]
    assert sample["tile"] == {"source_id": "P0001", "x": 8, "y": 0, "size": 1024}
    empty = _checked(oriented_row_to_sample(_polygons(), "dota", 15), 15)
    assert empty["polygons"].shape == (0, 8)
    assert empty["rotated_difficult"].shape == (0,)


def test_corners_that_are_no_numbers_are_errors():
    with pytest.raises(ValueError, match="objects.polygon holds .*inf"):
        oriented_row_to_sample(_polygons([0.0, 1, float("inf"), 1, 5, 3, 0, 3]), "dota")


def test_polygons_without_difficulty_are_not_difficult():
    row = _polygons([0.0, 1, 5, 1, 5, 3, 0, 3])
    del row["objects"]["difficult"]
    assert oriented_row_to_sample(row, "dota")["rotated_difficult"].tolist() == [0]


@pytest.mark.parametrize("name", ["category", "difficult"])
def test_lists_of_polygons_of_different_lengths_are_errors(name):
    row = _polygons([0.0, 1, 5, 1, 5, 3, 0, 3])
    row["objects"][name] = [0, 0]
    with pytest.raises(ValueError, match="the lists of objects have different lengths"):
        oriented_row_to_sample(row, "dota")


def test_semantic_maps_stay_as_stored():
    row = _picture(mask=_map(6, 255, 1))
    sample = _checked(segmentation_row_to_sample(row, "loveda", 7), 7)
    assert sample["semantic_labels"].flatten()[:4].tolist() == [6, 255, 1, 0]
    with pytest.raises(ValueError, match=r"mask holds \[0, 1, 6, 255\], expected 0..5 or 255"):
        segmentation_row_to_sample(row, "loveda", 6)


def test_change_row_has_both_dates_and_its_map():
    after = Image.new("RGB", (6, 4), (7, 7, 7))
    sample = _checked(change_row_to_sample(_picture(image_post=after, mask=_map(1, 255)), "levir"))
    assert sample["image"].max() == 0
    assert (sample["image_post"] == 7).all()
    assert sample["change_labels"].flatten()[:3].tolist() == [1, 255, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_post": Image.new("RGB", (6, 5))}, r"image is \(4, 6\), image_post \(5, 6\)"),
        ({"image_post": None}, "no image_post"),
        ({"mask": _map(2)}, r"mask holds \[0, 2\], expected 0..1 or 255"),
        ({"mask": None}, "no mask"),
    ],
)
def test_pairs_that_do_not_fit_are_errors(changes, message):
    row = _picture(image_post=Image.new("RGB", (6, 4)), mask=_map())
    with pytest.raises(ValueError, match=message):
        change_row_to_sample({**row, **changes}, "levir")


@pytest.mark.parametrize("read", [segmentation_row_to_sample, change_row_to_sample])
def test_splits_without_maps_are_read_by_choice(read):
    row = _picture(image_post=Image.new("RGB", (6, 4)), mask=None)
    assert not {"semantic_labels", "change_labels"} & set(read(row, "d", labelled=False))
    with pytest.raises(ValueError, match="no mask: "):
        read(row, "d")


@pytest.mark.parametrize(
    ("mask", "message"), [(_map(mode="RGB"), "RGB"), (Image.new("L", (4, 6)), "mask is 6x4")]
)
def test_maps_of_another_size_or_mode_are_errors(mask, message):
    with pytest.raises(ValueError, match=message):
        segmentation_row_to_sample(_picture(mask=mask), "loveda")
