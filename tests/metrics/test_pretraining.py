import pickle

import numpy as np
import pytest
import torch

from mtp_hf.metrics import flatten_metrics
from mtp_hf.metrics.pretraining import PretrainingEvaluator, crop_labels, pool_metrics
from mtp_hf.modeling.ops_rotated_boxes import boxes_to_rotated_boxes

NAMES = {"sota": ["plane", "ship", "pool"], "sior": ["dam", "bridge"]}
TASKS = {"sota": ["ss", "is", "rd"], "sior": ["ss", "rd"]}


def labels_of(boxes, labels, image_id, size=(32, 40), padded=(48, 48)):
    """Labels of one image whose objects are upright boxes, padded like a batch."""
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = torch.zeros(len(boxes), *padded, dtype=torch.bool)
    semantic = torch.full(padded, 255)
    semantic[: size[0], : size[1]] = 0
    for mask, (left, top, right, bottom), label in zip(masks, boxes.int(), labels, strict=True):
        mask[top:bottom, left:right] = True
        semantic[top:bottom, left:right] = label + 1
    return {
        "boxes": boxes,
        "class_labels": torch.tensor(labels, dtype=torch.int64),
        "instance_masks": masks,
        "rotated_boxes": boxes_to_rotated_boxes(boxes),
        "rotated_class_labels": torch.tensor(labels, dtype=torch.int64),
        "semantic_labels": semantic,
        "image_id": image_id,
        "size": size,
    }


def perfect(labels):
    """The prediction that repeats the labels."""
    cropped = crop_labels(labels)
    scores = torch.linspace(1, 0.5, len(labels["boxes"]))
    return {
        "ss": {"semantic_map": cropped["semantic_labels"]},
        "is": {
            "scores": scores,
            "labels": labels["class_labels"],
            "boxes": labels["boxes"],
            "masks": cropped["instance_masks"],
        },
        "rd": {
            "scores": scores,
            "labels": labels["rotated_class_labels"],
            "rotated_boxes": labels["rotated_boxes"],
        },
    }


def nothing(labels):
    """The prediction of background only."""
    height, width = labels["size"]
    return {
        "ss": {"semantic_map": torch.zeros(height, width, dtype=torch.int64)},
        "is": {
            "scores": torch.zeros(0),
            "labels": torch.zeros(0, dtype=torch.int64),
            "boxes": torch.zeros(0, 4),
            "masks": torch.zeros(0, height, width, dtype=torch.bool),
        },
        "rd": {
            "scores": torch.zeros(0),
            "labels": torch.zeros(0, dtype=torch.int64),
            "rotated_boxes": torch.zeros(0, 5),
        },
    }


FIRST = labels_of([[2, 2, 12, 8], [20, 10, 34, 20]], [0, 1], "P1")
SECOND = labels_of([[4, 4, 20, 12]], [1], "P2")
DAM = labels_of([[2, 2, 12, 8]], [0], "1")


def test_repeating_the_labels_scores_one_everywhere():
    evaluator = PretrainingEvaluator(NAMES, TASKS)
    evaluator.update("sota", [perfect(FIRST), perfect(SECOND)], [FIRST, SECOND])
    evaluator.update("sior", [perfect(DAM)], [DAM])
    flat = flatten_metrics(evaluator.compute())
    for name in ("sota/ss/miou", "sota/is/box_ap50", "sota/is/mask_ap", "sota/rd/ap50"):
        assert flat[name] == pytest.approx(1.0)
    for name in ("sior/ss/miou", "pooled/ss/miou", "pooled/is/mask_ap50", "pooled/rd/ap50"):
        assert flat[name] == pytest.approx(1.0)
    assert "sior/is/box_ap" not in flat


def test_finding_nothing_scores_zero():
    evaluator = PretrainingEvaluator(NAMES, TASKS)
    evaluator.update("sota", [nothing(FIRST)], [FIRST])
    flat = flatten_metrics(evaluator.compute())
    assert flat["sota/is/box_ap"] == 0.0
    assert flat["sota/rd/ap50"] == 0.0
    assert 0 < flat["sota/ss/miou"] < 1 / 3  # the background is hit


def test_pooled_weighs_every_class_with_ground_truth_the_same():
    evaluator = PretrainingEvaluator(NAMES, TASKS)
    evaluator.update("sota", [perfect(FIRST)], [FIRST])  # two classes at 1
    evaluator.update("sior", [nothing(DAM)], [DAM])  # one class at 0
    metrics = evaluator.compute()
    assert metrics["pooled"]["rd"]["ap50"] == pytest.approx(2 / 3)
    assert metrics["pooled"]["is"]["box_ap"] == pytest.approx(1.0)


def test_pooled_leaves_out_classes_that_are_only_predicted():
    values = {
        "num_reference": np.array([10, 0]),
        "iou": np.array([0.8, 0.0]),
        "accuracy": np.array([0.9, np.nan]),
        "f1": np.array([0.9, np.nan]),
        "dice": np.array([0.9, 0.0]),
    }
    assert pool_metrics({"a": {"ss": {"per_class": values}}})["ss"]["miou"] == pytest.approx(0.8)


def test_labels_are_cropped_to_their_content():
    cropped = crop_labels(FIRST)
    assert cropped["semantic_labels"].shape == (32, 40)
    assert cropped["instance_masks"].shape == (2, 32, 40)
    assert FIRST["instance_masks"].shape == (2, 48, 48)
    assert cropped["image_id"] == "P1"


def test_tables_list_the_classes_of_each_data_set():
    evaluator = PretrainingEvaluator(NAMES, TASKS)
    evaluator.update("sior", [perfect(DAM)], [DAM])
    tables = evaluator.compute()["tables"]
    assert [line.split()[0] for line in tables["sior"].splitlines()] == [
        "class",
        "background",
        "dam",
        "bridge",
        "all",
    ]
    assert "AP50 mask" in tables["sota"]


def test_merged_processes_equal_one_and_repeated_images_count_once():
    whole, first, second = (PretrainingEvaluator(NAMES, TASKS) for _ in range(3))
    images, predictions = [FIRST, SECOND], [perfect(FIRST), nothing(SECOND)]
    whole.update("sota", predictions, images)
    whole.update("sior", [perfect(DAM)], [DAM])
    first.update("sota", predictions[:1], images[:1])
    second.update("sota", predictions, images)
    second.update("sior", [perfect(DAM)], [DAM])
    first.merge([pickle.loads(pickle.dumps(second.state()))])
    expected, actual = whole.compute(), first.compute()
    assert actual["tables"] == expected["tables"]
    np.testing.assert_equal(flatten_metrics(actual), flatten_metrics(expected))


def test_merging_the_state_of_all_processes_includes_ones_own():
    first = PretrainingEvaluator(NAMES, TASKS)
    first.update("sior", [perfect(DAM)], [DAM])
    before = flatten_metrics(first.compute())
    first.merge([first.state(), PretrainingEvaluator(NAMES, TASKS).state()])
    np.testing.assert_equal(flatten_metrics(first.compute()), before)


def test_map_of_the_padded_size_names_the_image():
    wrong = {**perfect(FIRST), "ss": {"semantic_map": FIRST["semantic_labels"]}}
    with pytest.raises(ValueError, match=r"'P1'.*\(48, 48\).*\(32, 40\)"):
        PretrainingEvaluator(NAMES, TASKS).update("sota", [wrong], [FIRST])


def test_missing_labels_and_predictions_are_named():
    evaluator = PretrainingEvaluator(NAMES, TASKS)
    labels = {key: value for key, value in FIRST.items() if key != "instance_masks"}
    with pytest.raises(ValueError, match="sota, image 'P1', task is: no labels 'instance_masks'"):
        evaluator.update("sota", [perfect(FIRST)], [labels])
    with pytest.raises(ValueError, match="task ss: no prediction 'semantic_map'"):
        evaluator.update("sota", [{}], [FIRST])


def test_data_set_without_class_names_is_refused():
    with pytest.raises(ValueError, match="'fast'"):
        PretrainingEvaluator(NAMES, {"fast": ["ss"]})


def test_unknown_task_is_refused():
    with pytest.raises(ValueError, match="cd"):
        PretrainingEvaluator(NAMES, {"sota": ["cd"]})
