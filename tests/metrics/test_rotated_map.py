import pickle
import time

import numpy as np
import pytest
import torch

from mtp_hf.metrics.rotated_map import (
    RECALL_POINTS,
    RotatedMapAccumulator,
    area_average,
    best_overlaps,
    eleven_point_average,
)
from mtp_hf.modeling.ops_rotated_boxes import rotated_box_iou


def reference_of(boxes, labels, image_id="a", difficult=None):
    reference = {
        "image_id": image_id,
        "rotated_boxes": torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 5)),
        "rotated_class_labels": torch.tensor(labels, dtype=torch.int64),
    }
    if difficult is not None:
        reference["rotated_difficult"] = torch.tensor(difficult, dtype=torch.bool)
    return reference


def prediction_of(boxes, labels, scores):
    return {
        "scores": torch.tensor(scores, dtype=torch.float32),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "rotated_boxes": torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 5)),
    }


def evaluate_images(images, num_classes, **options):
    accumulator = RotatedMapAccumulator(num_classes, **options)
    for prediction, reference in images:
        accumulator.update([prediction], [reference])
    return accumulator.compute()


def random_images(count, num_classes, seed, num_objects=6, num_alarms=4):
    """Objects with difficult ones, moved and duplicated detections, false alarms, equal scores."""
    rng = np.random.default_rng(seed)

    def boxes_of(number):
        centres = rng.random((number, 2)) * 100
        sizes = np.sort(4 + rng.random((number, 2)) * 26, axis=1)[:, ::-1]
        angles = (rng.random((number, 1)) - 0.5) * np.pi
        return np.hstack([centres, sizes, angles]).astype(np.float32)

    images = []
    for number in range(count):
        size = int(rng.integers(0, num_objects + 1))
        truth, labels = boxes_of(size), rng.integers(0, num_classes, size)
        moved = truth + rng.normal(0, 1, truth.shape).astype(np.float32) * [2, 2, 2, 1, 0.05]
        moved[:, 2:4] = np.maximum(moved[:, 2:4], 2)
        found = np.vstack([moved, truth[:3], truth[:1], boxes_of(num_alarms)])
        guesses = np.concatenate(
            [labels, labels[:3], labels[:1], rng.integers(0, num_classes, num_alarms)]
        )
        scores = rng.integers(0, 10, len(found)) / 10
        difficult = rng.random(size) < 0.3
        images.append(
            (
                prediction_of(found, guesses, scores),
                reference_of(truth, labels, f"image{number:03d}", difficult),
            )
        )
    return images


def brute_force(images, num_classes, iou_threshold, interpolation):
    """Follow the protocol word by word, detection by detection."""
    precisions = np.full(num_classes, np.nan)
    for label in range(num_classes):
        taken, ranked, num_gts = set(), [], 0
        for number, (prediction, reference) in enumerate(images):
            num_gts += sum(
                int(gt_label == label and not difficult)
                for gt_label, difficult in zip(
                    reference["rotated_class_labels"], reference["rotated_difficult"], strict=True
                )
            )
            for index in range(len(prediction["scores"])):
                if prediction["labels"][index] == label:
                    ranked.append((-float(prediction["scores"][index]), number, index))
        if num_gts == 0:
            continue
        hits, alarms, curve = 0, 0, []
        for _, number, index in sorted(ranked):
            prediction, reference = images[number]
            best, best_gt = 0.0, None
            for gt in range(len(reference["rotated_boxes"])):
                if reference["rotated_class_labels"][gt] == label:
                    iou = rotated_box_iou(
                        prediction["rotated_boxes"][index : index + 1],
                        reference["rotated_boxes"][gt : gt + 1],
                    ).item()
                    if iou > best:
                        best, best_gt = iou, gt
            if best >= iou_threshold and reference["rotated_difficult"][best_gt]:
                pass
            elif best >= iou_threshold and (number, best_gt) not in taken:
                taken.add((number, best_gt))
                hits += 1
            else:
                alarms += 1
            if hits + alarms:
                curve.append((hits / num_gts, hits / (hits + alarms)))
        if interpolation == "11_points":
            values = [
                max([p for r, p in curve if r >= point], default=0.0) for point in RECALL_POINTS
            ]
            precisions[label] = sum(values) / 11
        else:
            area, last = 0.0, 0.0
            for position, (recall, _) in enumerate(curve):
                area += (recall - last) * max(p for _, p in curve[position:])
                last = recall
            precisions[label] = area
    return precisions


BOX, FAR, OTHER = [20, 20, 16, 8, 0.5], [80, 80, 16, 8, 0.5], [50, 20, 16, 8, -0.5]


def test_average_precision_of_three_detections_by_hand():
    # Hits at ranks 1 and 3 of 2 objects: precision 1 up to recall 0.5 (6 of 11 points), then 2/3.
    images = [
        (
            prediction_of([BOX, FAR, OTHER], [0, 0, 0], [0.9, 0.8, 0.7]),
            reference_of([BOX, OTHER], [0, 0]),
        )
    ]
    scores = evaluate_images(images, 1)
    assert scores["ap50"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert scores["per_class"]["recall"].tolist() == [1.0]
    assert scores["per_class"]["num_gts"].tolist() == [2]
    assert scores["per_class"]["num_detections"].tolist() == [3]
    area = evaluate_images(images, 1, interpolation="area")
    assert area["ap50"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_perfect_predictions_score_one():
    images = [
        (
            prediction_of(
                r["rotated_boxes"].numpy(),
                r["rotated_class_labels"].tolist(),
                [0.5] * len(r["rotated_boxes"]),
            ),
            r,
        )
        for _, r in random_images(6, 3, seed=1)
    ]
    scores = evaluate_images(images, 3)
    assert scores["ap50"] == pytest.approx(1.0)


def test_no_prediction_at_all_scores_zero():
    scores = evaluate_images([(prediction_of([], [], []), reference_of([BOX], [1]))], 2)
    assert scores["ap50"] == 0.0
    assert scores["per_class"]["recall"][1] == 0.0


def test_without_any_ground_truth_the_mean_is_undefined():
    scores = evaluate_images([(prediction_of([BOX], [0], [0.5]), reference_of([], []))], 2)
    assert np.isnan(scores["ap50"])
    assert np.isnan(RotatedMapAccumulator(2).compute()["ap50"])


def test_classes_without_boxes_leave_the_mean():
    found = prediction_of([BOX, FAR], [1, 2], [0.9, 0.8])
    scores = evaluate_images([(found, reference_of([BOX], [1]))], 3)
    assert scores["ap50"] == pytest.approx(1.0)
    np.testing.assert_array_equal(np.isnan(scores["per_class"]["ap50"]), [True, False, True])


def test_second_detection_of_a_box_is_a_false_alarm():
    found = prediction_of([BOX, BOX, OTHER], [0, 0, 0], [0.9, 0.8, 0.7])
    scores = evaluate_images([(found, reference_of([BOX, OTHER], [0, 0]))], 1)
    assert scores["ap50"] == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_a_detection_does_not_fall_back_to_its_second_best_box():
    # Both detections overlap both boxes by half or more and both are nearest to the first one.
    first, second = [20, 20, 16, 8, 0], [22, 20, 16, 8, 0]
    found = prediction_of([first, [20.5, 20, 16, 8, 0]], [0, 0], [0.9, 0.8])
    scores = evaluate_images([(found, reference_of([first, second], [0, 0]))], 1)
    assert scores["per_class"]["recall"].tolist() == [0.5]


def test_box_of_another_class_is_no_match():
    scores = evaluate_images([(prediction_of([BOX], [1], [0.9]), reference_of([BOX], [0]))], 2)
    assert scores["ap50"] == 0.0


def test_boxes_of_other_images_are_no_match():
    images = [
        (prediction_of([BOX], [0], [0.9]), reference_of([], [], "a")),
        (prediction_of([], [], []), reference_of([BOX], [0], "b")),
    ]
    assert evaluate_images(images, 1)["ap50"] == 0.0


def test_detections_on_difficult_boxes_do_not_count():
    found = prediction_of([OTHER, OTHER, BOX], [0, 0, 0], [0.9, 0.8, 0.7])
    scores = evaluate_images([(found, reference_of([BOX, OTHER], [0, 0], "a", [0, 1]))], 1)
    assert scores["ap50"] == pytest.approx(1.0)
    assert scores["per_class"]["num_gts"].tolist() == [1]


def test_original_drops_difficult_boxes_of_images_without_others():
    images = [
        (prediction_of([OTHER], [0], [0.9]), reference_of([OTHER], [0], "a", [True])),
        (prediction_of([BOX], [0], [0.8]), reference_of([BOX], [0], "b", [False])),
    ]
    assert evaluate_images(images, 1)["ap50"] == pytest.approx(1.0)
    assert evaluate_images(images, 1, original_difficult=True)["ap50"] == pytest.approx(0.5)


def test_angles_that_differ_by_half_a_turn_are_the_same_box():
    turned = [*BOX[:4], BOX[4] - np.pi]
    assert evaluate_images([(prediction_of([turned], [0], [0.9]), reference_of([BOX], [0]))], 1)[
        "ap50"
    ] == pytest.approx(1.0)


def test_orientation_matters():
    truth, crossed = [20, 20, 30, 6, 0.3], [20, 20, 30, 6, 0.3 - np.pi / 2]
    scores = evaluate_images([(prediction_of([crossed], [0], [1]), reference_of([truth], [0]))], 1)
    assert scores["ap50"] == 0.0


def test_iou_exactly_at_the_threshold_is_a_hit():
    truth, half = [20, 20, 16, 8, 0], [20, 20, 8, 8, 0]
    images = [(prediction_of([half], [0], [1]), reference_of([truth], [0]))]
    overlap, _ = best_overlaps(
        np.float32([half]), np.float32([truth]), labels=np.array([0]), gt_labels=np.array([0])
    )
    assert evaluate_images(images, 1, iou_threshold=float(overlap[0]))["per_class"]["recall"] == [1]


def test_threshold_names_the_result():
    images = [
        (prediction_of([[23, 20, 16, 8, 0]], [0], [1]), reference_of([[20, 20, 16, 8, 0]], [0]))
    ]
    assert evaluate_images(images, 1)["ap50"] == pytest.approx(1.0)  # IoU 13/19 = 0.68
    assert evaluate_images(images, 1, iou_threshold=0.75)["ap75"] == 0.0


def test_eleven_points_keep_the_rounding_of_their_recalls():
    # 3 of 10 boxes: recall 0.3 lies below the float point 0.1 * 3, so 3 points are reached.
    recalls, precisions = np.array([1, 2, 3]) / 10, np.ones(3)
    assert eleven_point_average(recalls, precisions) == pytest.approx(3 / 11)
    assert eleven_point_average(recalls[:2], precisions[:2]) == pytest.approx(3 / 11)


def test_averages_of_no_detection_are_zero():
    assert eleven_point_average(np.zeros(0), np.zeros(0)) == 0.0
    assert area_average(np.zeros(0), np.zeros(0)) == 0.0


@pytest.mark.parametrize("interpolation", ["11_points", "area"])
@pytest.mark.parametrize("seed", range(4))
def test_vectorised_matching_equals_the_loop(seed, interpolation):
    images = random_images(8, 3, seed)
    expected = brute_force(images, 3, 0.5, interpolation)
    scores = evaluate_images(images, 3, interpolation=interpolation)
    np.testing.assert_allclose(scores["per_class"]["ap50"], expected, rtol=0, atol=1e-12)
    assert 0 < scores["ap50"] < 1


def test_merged_processes_equal_one_in_any_order_and_repeated_images_count_once():
    images = random_images(9, 3, seed=7)
    first, second = RotatedMapAccumulator(3), RotatedMapAccumulator(3)
    for accumulator, part in ((first, images[5:]), (second, images[:6])):
        for prediction, reference in part + part[:1]:
            accumulator.update([prediction], [reference])
    first.merge([pickle.loads(pickle.dumps(second.state()))])
    np.testing.assert_array_equal(
        first.compute()["per_class"]["ap50"], evaluate_images(images, 3)["per_class"]["ap50"]
    )


def test_class_out_of_range_names_the_image():
    with pytest.raises(ValueError, match=r"'P9'.*predictions hold classes 5\.\.5.*0\.\.2"):
        RotatedMapAccumulator(3).update(
            [prediction_of([BOX], [5], [1.0])], [reference_of([BOX], [0], "P9")]
        )


def test_lists_of_different_lengths_name_the_image():
    with pytest.raises(ValueError, match=r"'P9'.*\[1, 1, 2\]"):
        RotatedMapAccumulator(3).update(
            [prediction_of([BOX], [0], [1.0, 0.5])], [reference_of([BOX], [0], "P9")]
        )


def test_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="101_points"):
        RotatedMapAccumulator(3, interpolation="101_points")


@pytest.mark.slow
def test_100000_detections_take_under_20_seconds():
    images = random_images(1000, 18, seed=0, num_objects=70, num_alarms=61)
    count = sum(len(prediction["scores"]) for prediction, _ in images)
    start = time.perf_counter()
    evaluate_images(images, 18)
    seconds = time.perf_counter() - start
    print(f"{count} detections, {seconds:.2f} s")
    assert count > 95_000
    assert seconds < 20


def test_curves_follow_the_ranking_of_classes_with_boxes():
    boxes = np.array([[20.0, 20.0, 10.0, 4.0, 0.0], [60.0, 60.0, 10.0, 4.0, 0.0]])
    accumulator = RotatedMapAccumulator(2)
    accumulator.update(
        [{"rotated_boxes": boxes, "labels": np.array([0, 0]), "scores": np.array([0.9, 0.8])}],
        [{"image_id": "a", "rotated_boxes": boxes[1:], "rotated_class_labels": np.array([0])}],
    )
    (recalls, precisions), empty = accumulator.compute()["curves"]
    np.testing.assert_allclose(recalls, [0.0, 1.0])
    np.testing.assert_allclose(precisions, [0.0, 0.5])
    assert [len(values) for values in empty] == [0, 0]
