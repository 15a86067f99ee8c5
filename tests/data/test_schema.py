import pytest
import torch

from mtp_hf.data.schema import check_sample


def _sample(**changes):
    sample = {
        "image": torch.zeros(3, 4, 6, dtype=torch.uint8),
        "boxes": torch.tensor([[0.0, 0, 2, 2], [1, 1, 1, 1]]),
        "class_labels": torch.tensor([0, 4]),
        "instance_masks": torch.zeros(2, 4, 6, dtype=torch.bool),
        "rotated_boxes": torch.zeros(3, 5),
        "rotated_class_labels": torch.tensor([4, 0, 1]),
        "semantic_labels": torch.tensor([0, 5, 255]).repeat(4, 2),
        "image_id": "a",
        "dataset": "d",
        "orig_size": (8, 12),
    }
    return {k: v for k, v in {**sample, **changes}.items() if v is not None}


def test_good_samples_pass():
    check_sample(_sample(), num_classes=5)
    check_sample(_sample(size=(4, 6), dropped={"a": 1}, num_redrawn=0))


def test_samples_of_every_task_pass():
    pair = {"image_post": torch.zeros(3, 4, 6, dtype=torch.uint8)}
    changes = torch.tensor([0, 1, 255]).repeat(4, 2)
    check_sample(_sample(**pair, change_labels=changes, semantic_labels=None))
    check_sample(_sample(label=torch.tensor(4)), num_classes=5)
    check_sample(_sample(rotated_difficult=torch.tensor([0, 1, 2]), tile={"x": 0}))


def test_label_maps_may_have_the_stored_size_also_turned():
    for size in ((8, 12), (12, 8)):
        check_sample(_sample(semantic_labels=torch.zeros(size, dtype=torch.int64)))
        changes = torch.ones(size, dtype=torch.int64)
        check_sample(_sample(change_labels=changes, semantic_labels=None))


def test_absent_annotation_kinds_pass():
    check_sample(_sample(boxes=None, class_labels=None, instance_masks=None), num_classes=5)
    check_sample(_sample(rotated_boxes=None, rotated_class_labels=None))
    check_sample(_sample(instance_masks=None, semantic_labels=None))


def test_zero_objects_pass():
    check_sample(
        _sample(
            boxes=torch.zeros(0, 4),
            class_labels=torch.zeros(0, dtype=torch.int64),
            instance_masks=torch.zeros(0, 4, 6, dtype=torch.bool),
            rotated_boxes=torch.zeros(0, 5),
            rotated_class_labels=torch.zeros(0, dtype=torch.int64),
        ),
        num_classes=5,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"polygons": torch.zeros(1, 8)}, "unknown keys"),
        ({"image": torch.zeros(3, 4, 6)}, "image must be a torch.uint8"),
        ({"semantic_labels": torch.zeros(4, 6, dtype=torch.uint8)}, "semantic_labels must be"),
        ({"boxes": [[0, 0, 1, 1]]}, "boxes must be .* got list"),
        ({"orig_size": [8, 12]}, "orig_size is list"),
        ({"image_id": 3}, "image_id is int"),
    ],
)
def test_wrong_types_are_type_errors(changes, message):
    with pytest.raises(TypeError, match=message):
        check_sample(_sample(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": None}, "missing keys .*image_id"),
        ({"class_labels": None}, "missing keys .*class_labels"),
        ({"rotated_boxes": None}, "missing keys .*rotated_boxes"),
        ({"boxes": torch.zeros(2, 5)}, "boxes is"),
        ({"class_labels": torch.tensor([0])}, "class_labels is"),
        ({"instance_masks": torch.zeros(2, 4, 5, dtype=torch.bool)}, "instance_masks is"),
        ({"semantic_labels": torch.zeros(6, 4, dtype=torch.int64)}, "semantic_labels is"),
        ({"image": torch.zeros(3, 4, dtype=torch.uint8)}, "image is"),
        ({"image_post": torch.zeros(3, 8, 12, dtype=torch.uint8)}, "image_post is"),
        ({"change_labels": torch.zeros(6, 4, dtype=torch.int64)}, "change_labels is"),
        ({"change_labels": torch.full((4, 6), 2)}, "change_labels .2. not in"),
        ({"label": torch.zeros(1, dtype=torch.int64)}, "label is"),
        ({"label": torch.tensor(5)}, "label .5. not in 0..4"),
        ({"rotated_difficult": torch.zeros(2, dtype=torch.int64)}, "rotated_difficult is"),
        ({"rotated_difficult": torch.tensor([0, 1, 3])}, "rotated_difficult .*3. not in"),
        ({"boxes": torch.full((2, 4), float("nan"))}, "boxes holds non-finite"),
        ({"rotated_boxes": torch.full((3, 5), float("inf"))}, "rotated_boxes holds non-finite"),
        ({"boxes": torch.tensor([[3.0, 0, 2, 2], [0, 0, 1, 1]])}, "x2 >= x1"),
        ({"class_labels": torch.tensor([0, 5])}, "class_labels .* not in 0..4"),
        ({"rotated_class_labels": torch.tensor([-1, 0, 0])}, "rotated_class_labels"),
        ({"semantic_labels": torch.full((4, 6), 6)}, "semantic labels .6. not in 0..5"),
        ({"semantic_labels": torch.full((4, 6), -1)}, "semantic labels"),
        ({"semantic_labels": torch.full((4, 6), 256)}, "semantic labels"),
    ],
)
def test_wrong_values_are_value_errors_that_name_the_image(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        check_sample(_sample(**changes), num_classes=5)
    if "image_id" not in changes:
        assert "d/a" in str(error.value)


def test_label_range_needs_the_number_of_classes():
    check_sample(_sample(class_labels=torch.tensor([0, 99])))
    with pytest.raises(ValueError, match="99"):
        check_sample(_sample(class_labels=torch.tensor([0, 99])), num_classes=20)
