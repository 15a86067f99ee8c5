import numpy as np
import torch

from mtp_hf.visualize.task_layers import read_layer

BOXES = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 3.0, 3.0]])
LABELS = {
    "semantic_labels": torch.tensor([[0, 2], [255, 1]]),
    "boxes": BOXES,
    "class_labels": torch.tensor([0, 1]),
    "instance_masks": torch.ones(2, 4, 4, dtype=torch.bool),
    "rotated_boxes": torch.tensor([[2.0, 2.0, 4.0, 2.0, 0.1]]),
    "rotated_class_labels": torch.tensor([3]),
}
INSTANCES = {
    "scores": torch.tensor([0.9, 0.2, 0.5]),
    "labels": torch.tensor([0, 1, 2]),
    "boxes": torch.arange(12.0).reshape(3, 4),
    "masks": torch.ones(3, 4, 4, dtype=torch.bool),
}


def test_labels_of_a_sample_hold_all_tasks():
    assert read_layer("ss", LABELS).semantic_map.tolist() == [[0, 2], [255, 1]]
    instances = read_layer("is", LABELS)
    assert instances.labels.tolist() == [0, 1]
    assert instances.masks.shape == (2, 4, 4)
    assert instances.scores is None
    rotated = read_layer("rd", LABELS)
    assert rotated.labels.tolist() == [3]
    assert rotated.boxes is None


def test_predictions_may_be_of_one_task_or_by_task():
    for source in (INSTANCES, {"is": INSTANCES}):
        assert read_layer("is", source).boxes.shape == (3, 4)
    assert (
        read_layer("ss", {"ss": {"semantic_map": np.zeros((2, 2), int)}}).semantic_map is not None
    )


def test_weak_detections_are_left_out_and_the_best_come_last():
    layer = read_layer("is", INSTANCES, score_threshold=0.3)
    assert layer.labels.tolist() == [2, 0]
    np.testing.assert_allclose(layer.scores, [0.5, 0.9])
    assert layer.boxes[:, 0].tolist() == [8.0, 0.0]
    assert layer.masks.shape == (2, 4, 4)


def test_absent_tasks_are_empty():
    for task in ("ss", "rd"):
        layer = read_layer(task, {"is": INSTANCES})
        assert layer.classes() == set()
        assert layer.labels is None


def test_classes_are_counted_from_zero_without_background_and_ignored_pixels():
    assert read_layer("ss", LABELS).classes() == {0, 1}
    assert read_layer("is", INSTANCES).classes() == {0, 1, 2}


def test_boxes_without_masks_are_enough():
    labels = {"boxes": BOXES, "class_labels": torch.tensor([0, 1])}
    assert read_layer("is", labels).masks is None
