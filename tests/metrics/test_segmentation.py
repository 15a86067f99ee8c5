import pickle

import numpy as np
import pytest
import torch

from mtp_hf.metrics.segmentation import (
    SegmentationAccumulator,
    confusion_matrix,
    segmentation_scores,
)

# Reference 0 0 / 1 ignore, prediction 0 1 / 1 1: class 0 has 1 hit of 2 labelled and 1 predicted,
# class 1 has 1 hit of 1 labelled and 2 predicted.
REFERENCE = np.array([[0, 0], [1, 255]])
PREDICTION = np.array([[0, 1], [1, 1]])


def random_maps(count, num_classes, seed=0):
    rng = np.random.default_rng(seed)
    references = rng.integers(0, num_classes, (count, 9, 7))
    predictions = np.where(
        rng.random(references.shape) < 0.6, references, rng.integers(0, num_classes, (count, 9, 7))
    )
    references[rng.random(references.shape) < 0.1] = 255
    return list(predictions), list(references), [f"image{n}" for n in range(count)]


def test_confusion_of_two_2x2_maps_by_hand():
    assert confusion_matrix(PREDICTION, REFERENCE, 2).tolist() == [[1, 1], [0, 1]]


def test_scores_of_two_2x2_maps_by_hand():
    scores = segmentation_scores(np.array([[1, 1], [0, 1]]))
    assert scores["per_class"]["iou"].tolist() == [0.5, 0.5]
    assert scores["per_class"]["recall"].tolist() == [0.5, 1.0]
    assert scores["per_class"]["precision"].tolist() == [1.0, 0.5]
    assert scores["per_class"]["num_reference"].tolist() == [2, 1]
    assert scores["per_class"]["num_predicted"].tolist() == [1, 2]
    assert scores["miou"] == 0.5
    assert scores["mean_accuracy"] == 0.75
    assert scores["mean_f1"] == pytest.approx(2 / 3)
    assert scores["mean_dice"] == pytest.approx(2 / 3)
    assert scores["overall_accuracy"] == pytest.approx(2 / 3)


def test_scores_are_one_for_a_perfect_prediction():
    scores = segmentation_scores(confusion_matrix(REFERENCE % 255, REFERENCE, 2))
    assert all(value == 1.0 for name, value in scores.items() if name != "per_class")


def test_class_in_neither_map_is_undefined_and_leaves_the_means():
    scores = segmentation_scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    for name in ("iou", "accuracy", "precision", "recall", "f1", "dice"):
        assert np.isnan(scores["per_class"][name][2])
    assert scores["miou"] == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_class_predicted_but_never_labelled_has_iou_and_dice_zero_and_no_f1():
    classes = segmentation_scores(np.array([[3, 1], [0, 0]]))["per_class"]
    assert classes["iou"][1] == 0.0
    assert classes["dice"][1] == 0.0
    assert np.isnan(classes["f1"][1])
    assert np.isnan(classes["accuracy"][1])


def test_class_labelled_but_never_predicted_has_iou_and_dice_zero():
    classes = segmentation_scores(np.array([[3, 0], [2, 0]]))["per_class"]
    assert classes["iou"][1] == 0.0
    assert classes["dice"][1] == 0.0
    assert classes["recall"][1] == 0.0
    assert np.isnan(classes["precision"][1])


def test_confusion_equals_counting_pixel_by_pixel():
    predictions, references, _ = random_maps(1, 5)
    expected = np.zeros((5, 5), dtype=int)
    for row, column in np.ndindex(9, 7):
        if references[0][row, column] != 255:
            expected[references[0][row, column], predictions[0][row, column]] += 1
    np.testing.assert_array_equal(confusion_matrix(predictions[0], references[0], 5), expected)


def test_dice_and_iou_satisfy_their_identity():
    predictions, references, names = random_maps(3, 4)
    accumulator = SegmentationAccumulator(4)
    accumulator.update(predictions, references, names)
    classes = accumulator.compute()["per_class"]
    np.testing.assert_allclose(classes["dice"], 2 * classes["iou"] / (1 + classes["iou"]))
    np.testing.assert_allclose(classes["dice"], classes["f1"])


def test_images_one_by_one_equal_their_mosaic():
    predictions, references, names = random_maps(4, 5)
    accumulator = SegmentationAccumulator(5)
    for prediction, reference, name in zip(predictions, references, names, strict=True):
        accumulator.update([torch.from_numpy(prediction)], [torch.from_numpy(reference)], [name])
    mosaic = confusion_matrix(np.concatenate(predictions), np.concatenate(references), 5)
    expected = segmentation_scores(mosaic)
    actual = accumulator.compute()
    np.testing.assert_array_equal(actual["per_class"]["iou"], expected["per_class"]["iou"])
    assert actual["miou"] == expected["miou"]


def test_nothing_gathered_is_undefined():
    scores = SegmentationAccumulator(3).compute()
    assert np.isnan(scores["miou"])
    assert np.isnan(scores["overall_accuracy"])


def test_maps_of_different_sizes_name_the_image():
    with pytest.raises(ValueError, match=r"'P0003'.*\(2, 2\).*\(2, 3\)"):
        SegmentationAccumulator(2).update(
            [np.zeros((2, 2), int)], [np.zeros((2, 3), int)], ["P0003"]
        )


@pytest.mark.parametrize("bad", [-1, 2, 255])
def test_predicted_class_out_of_range_names_the_image(bad):
    with pytest.raises(ValueError, match=r"'P0003'.*prediction"):
        SegmentationAccumulator(2).update([np.array([[0, bad]])], [np.array([[0, 1]])], ["P0003"])


def test_reference_class_out_of_range_names_the_image():
    with pytest.raises(ValueError, match=r"'P0003'.*reference.*0\.\.7.*0\.\.1"):
        SegmentationAccumulator(2).update([np.array([[0, 1]])], [np.array([[0, 7]])], ["P0003"])


def test_predictions_under_ignored_pixels_are_free():
    accumulator = SegmentationAccumulator(2)
    accumulator.update([np.array([[0, 99]])], [np.array([[0, 255]])], ["a"])
    assert accumulator.compute()["overall_accuracy"] == 1.0


def test_uint8_maps_do_not_overflow():
    reference = np.full((2, 2), 37, dtype=np.uint8)
    accumulator = SegmentationAccumulator(38)
    accumulator.update([reference], [reference], ["a"])
    assert accumulator.compute()["per_class"]["num_reference"][37] == 4


def test_merged_processes_equal_one_and_repeated_images_count_once():
    predictions, references, names = random_maps(5, 4)
    whole, first, second = (SegmentationAccumulator(4) for _ in range(3))
    whole.update(predictions, references, names)
    first.update(predictions[:3], references[:3], names[:3])
    second.update(predictions[2:], references[2:], names[2:])  # image 2 was repeated
    second.update(predictions[2:3], references[2:3], names[2:3])
    first.merge([pickle.loads(pickle.dumps(second.state()))])
    np.testing.assert_array_equal(
        first.compute()["per_class"]["iou"], whole.compute()["per_class"]["iou"]
    )
    assert len(first.images) == 5


def test_maps_of_probabilities_name_the_image():
    with pytest.raises(ValueError, match="'P3': the predicted map holds float64, expected class"):
        SegmentationAccumulator(2).update([np.zeros((1, 2))], [np.array([[0, 1]])], ["P3"])
