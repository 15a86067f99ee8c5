import io

import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.data.masks import decode_masks
from mtp_hf.data.samples import gray_map_to_labels, image_to_tensor, samrs_row_to_sample


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
