import pickle

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_api

from mtp_hf.metrics import coco_map
from mtp_hf.metrics.coco_map import CocoMapAccumulator, encode_masks

BACKENDS = ["faster_coco_eval", "pycocotools"]


def box_masks(boxes, size=(64, 64)):
    masks = np.zeros((len(boxes), *size), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[int(top) : int(bottom), int(left) : int(right)] = True
    return masks


def reference_of(boxes, labels, image_id="a"):
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return {
        "image_id": image_id,
        "boxes": torch.from_numpy(boxes),
        "class_labels": torch.tensor(labels, dtype=torch.int64),
        "instance_masks": torch.from_numpy(box_masks(boxes)),
    }


def prediction_of(boxes, labels, scores):
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return {
        "scores": torch.tensor(scores, dtype=torch.float32),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "boxes": torch.from_numpy(boxes),
        "masks": torch.from_numpy(box_masks(boxes)),
    }


def random_images(count, num_classes, seed=0):
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        num_objects = int(rng.integers(0, 8))
        corners = rng.integers(0, 40, (num_objects, 2))
        boxes = np.hstack([corners, corners + rng.integers(3, 24, (num_objects, 2))])
        labels = rng.integers(0, num_classes, num_objects)
        moved = np.vstack([boxes + rng.integers(-2, 3, boxes.shape), boxes[:2] + 1]).clip(0, 64)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        guesses = np.concatenate([labels, labels[:2]])
        guesses = np.where(rng.random(len(guesses)) < 0.8, guesses, 0)
        scores = rng.integers(0, 20, len(guesses)) / 20  # with ties
        images.append(
            (prediction_of(moved, guesses, scores), reference_of(boxes, labels, f"image{number}"))
        )
    return images


def evaluate_images(images, num_classes, **options):
    accumulator = CocoMapAccumulator(num_classes, **options)
    for prediction, reference in images:
        accumulator.update([prediction], [reference])
    return accumulator.compute()


@pytest.mark.parametrize("backend", BACKENDS)
def test_average_precision_of_three_detections_by_hand(backend):
    # Hits at ranks 1 and 3 of 2 objects: precision 1 up to recall 0.5 (51 of the 101 recall
    # points), 2/3 beyond (50 points), whatever the threshold, for hits are exact.
    truth = [[0, 0, 10, 10], [20, 20, 40, 40]]
    found = [[0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 40, 40]]
    scores = evaluate_images(
        [(prediction_of(found, [0, 0, 0], [0.9, 0.8, 0.7]), reference_of(truth, [0, 0]))],
        1,
        backend=backend,
    )
    expected = (51 + 50 * 2 / 3) / 101
    for name in ("box_ap", "box_ap50", "box_ap75", "mask_ap", "mask_ap50", "mask_ap75"):
        assert scores[name] == pytest.approx(expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_perfect_predictions_score_one(backend):
    images = [
        (
            {
                "scores": torch.ones(len(reference["boxes"])),
                "labels": reference["class_labels"],
                "boxes": reference["boxes"],
                "masks": reference["instance_masks"],
            },
            reference,
        )
        for _, reference in random_images(5, 3)
    ]
    scores = evaluate_images(images, 3, backend=backend)
    assert scores["box_ap"] == pytest.approx(1.0)
    assert scores["mask_ap"] == pytest.approx(1.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_prediction_at_all_scores_zero(backend):
    images = [(prediction_of([], [], []), reference_of([[0, 0, 9, 9]], [1]))]
    scores = evaluate_images(images, 2, backend=backend)
    assert scores["box_ap"] == 0.0
    assert scores["mask_ap50"] == 0.0
    assert scores["per_class"]["num_detections"].tolist() == [0, 0]


def test_iou_of_0_6_counts_at_50_and_not_at_75():
    images = [(prediction_of([[0, 0, 6, 10]], [0], [1.0]), reference_of([[0, 0, 10, 10]], [0]))]
    scores = evaluate_images(images, 1)
    assert scores["box_ap50"] == pytest.approx(1.0)
    assert scores["box_ap75"] == 0.0
    assert scores["box_ap"] == pytest.approx(0.3)  # thresholds 0.5, 0.55 and 0.6


def test_classes_without_ground_truth_are_undefined_and_leave_the_mean():
    truth = reference_of([[0, 0, 9, 9]], [1])
    found = prediction_of([[0, 0, 9, 9], [0, 0, 9, 9]], [1, 2], [0.9, 0.8])
    scores = evaluate_images([(found, truth)], 3)
    assert scores["box_ap50"] == pytest.approx(1.0)
    np.testing.assert_array_equal(np.isnan(scores["per_class"]["box_ap50"]), [True, False, True])


def test_without_any_ground_truth_everything_is_undefined():
    images = [(prediction_of([[0, 0, 9, 9]], [0], [1.0]), reference_of([], []))]
    assert np.isnan(evaluate_images(images, 2)["box_ap"])
    assert np.isnan(CocoMapAccumulator(2).compute()["mask_ap50"])


@pytest.mark.parametrize("seed", range(3))
def test_both_libraries_agree(seed):
    images = random_images(12, 4, seed)
    faster, slower = (evaluate_images(images, 4, backend=backend) for backend in BACKENDS)
    for name in faster["per_class"]:
        np.testing.assert_allclose(
            faster["per_class"][name], slower["per_class"][name], rtol=0, atol=1e-12
        )
    for name in set(faster) - {"per_class"}:
        np.testing.assert_allclose(faster[name], slower[name], rtol=0, atol=1e-12)
    assert 0.05 < faster["box_ap"] < 0.95


def test_only_the_best_detections_count():
    truth = reference_of([[0, 0, 9, 9]], [0])
    boxes = [[30, 30, 40, 40]] * 3 + [[0, 0, 9, 9]]
    found = prediction_of(boxes, [0] * 4, [0.9, 0.8, 0.7, 0.6])
    assert evaluate_images([(found, truth)], 1, max_detections=3)["box_ap50"] == 0.0
    assert evaluate_images([(found, truth)], 1, max_detections=4)["box_ap50"] == pytest.approx(0.25)


def test_boxes_alone_need_no_masks():
    truth, found = reference_of([[0, 0, 9, 9]], [0]), prediction_of([[0, 0, 9, 9]], [0], [0.5])
    del truth["instance_masks"], found["masks"]
    scores = evaluate_images([(found, truth)], 1, iou_types=("box",))
    assert scores["box_ap"] == pytest.approx(1.0)
    assert "mask_ap" not in scores


def test_run_lengths_are_those_of_the_coco_api():
    masks = np.random.default_rng(0).random((3, 17, 11)) < 0.4
    for mask, code in zip(masks, encode_masks(masks), strict=True):
        assert code == mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
        np.testing.assert_array_equal(mask_api.decode(code), mask)


def test_masks_of_another_size_name_the_image():
    truth, found = reference_of([[0, 0, 9, 9]], [0], "P7"), prediction_of([[0, 0, 9, 9]], [0], [1])
    found["masks"] = found["masks"][:, :32]
    with pytest.raises(ValueError, match=r"'P7'.*\(32, 64\).*\(64, 64\)"):
        CocoMapAccumulator(1).update([found], [truth])


def test_class_out_of_range_names_the_image():
    with pytest.raises(ValueError, match=r"'P7'.*class_labels.*3\.\.3"):
        CocoMapAccumulator(3).update(
            [prediction_of([], [], [])], [reference_of([[0, 0, 9, 9]], [3], "P7")]
        )


def test_lists_of_different_lengths_name_the_image():
    found = prediction_of([[0, 0, 9, 9]], [0], [0.5, 0.4])
    with pytest.raises(ValueError, match="'P7'"):
        CocoMapAccumulator(1).update([found], [reference_of([], [], "P7")])


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="keypoints"):
        CocoMapAccumulator(1, ("keypoints",))
    with pytest.raises(ValueError, match="torchmetrics"):
        CocoMapAccumulator(1, backend="torchmetrics")


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_printed(backend, capfd):
    evaluate_images(random_images(2, 2), 2, backend=backend)
    assert capfd.readouterr() == ("", "")


def test_pycocotools_counts_where_the_faster_library_is_missing(monkeypatch):
    found = {"pycocotools": object()}
    monkeypatch.setattr(coco_map.importlib.util, "find_spec", found.get)
    assert CocoMapAccumulator(1).backend == "pycocotools"


def test_merged_processes_equal_one_and_repeated_images_count_once():
    images = random_images(7, 3, seed=2)
    first, second = CocoMapAccumulator(3), CocoMapAccumulator(3)
    for accumulator, part in ((second, images[3:]), (first, images[:4])):
        for prediction, reference in part + part[:1]:
            accumulator.update([prediction], [reference])
    first.merge([pickle.loads(pickle.dumps(second.state()))])
    assert first.compute()["mask_ap"] == evaluate_images(images, 3)["mask_ap"]


def test_computing_twice_gives_the_same():
    accumulator = CocoMapAccumulator(3)
    for prediction, reference in random_images(4, 3):
        accumulator.update([prediction], [reference])
    assert accumulator.compute()["box_ap"] == accumulator.compute()["box_ap"]


def test_curves_have_the_precision_at_every_recall_of_classes_with_ground_truth():
    accumulator = CocoMapAccumulator(2, ("box",))
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    accumulator.update(
        [{"boxes": box, "labels": np.array([0]), "scores": np.array([0.9])}],
        [{"image_id": "a", "boxes": box, "class_labels": np.array([0])}],
    )
    (recalls, precisions), empty = accumulator.compute()["curves"]
    np.testing.assert_allclose(recalls, np.linspace(0, 1, 101))
    np.testing.assert_allclose(precisions, 1.0)
    assert [len(values) for values in empty] == [0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_detections_on_a_crowd_are_no_false_alarms(backend):
    truth = reference_of([[0, 0, 10, 10], [20, 20, 60, 60]], [0, 0])
    truth["iscrowd"] = torch.tensor([False, True])
    found = prediction_of([[0, 0, 10, 10], [20, 20, 40, 40]], [0, 0], [0.8, 0.9])
    scores = evaluate_images([(found, truth)], 1, backend=backend)
    assert scores["box_ap50"] == pytest.approx(1.0)
    assert scores["per_class"]["num_gts"].tolist() == [1]


@pytest.mark.parametrize(
    ("side", "key", "message"),
    [
        (0, "scores", "scores: 1 of 1 numbers are nan"),
        (0, "boxes", "boxes of the prediction: 4 of 4 numbers are nan"),
        (1, "boxes", "boxes of the reference: 4 of 4 numbers are nan"),
    ],
)
def test_numbers_that_are_not_finite_name_the_image(side, key, message):
    pair = prediction_of([[0, 0, 9, 9]], [0], [0.5]), reference_of([[0, 0, 9, 9]], [0], "P7")
    pair[side][key] = torch.full_like(pair[side][key], np.nan)
    with pytest.raises(ValueError, match=f"image 'P7': {message}"):
        evaluate_images([pair], 1)


def test_missing_masks_are_named_with_the_image():
    truth, found = reference_of([], [], "P7"), prediction_of([], [], [])
    del truth["instance_masks"]
    with pytest.raises(ValueError, match="image 'P7': the reference has no instance_masks"):
        CocoMapAccumulator(1).update([found], [truth])
