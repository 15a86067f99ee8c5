"""One evaluator for each task: perfect predictions, hand-made ones, nothing at all."""

import numpy as np
import pytest

from mtp_hf.metrics.finetuning import HEADLINES, TaskEvaluator, headline

NAMES = ["a", "b"]
BOX, ROTATED = np.array([[2.0, 2, 12, 8]]), np.array([[7.0, 5, 10, 6, 0.3]])
MAP = np.array([[0, 1], [1, 255]])
OBJECTS = {"scores": [0.9], "labels": [1]}
# task -> perfect prediction and reference of one image
PERFECT = {
    "scene_classification": ({"scores": [0.1, 0.9]}, {"label": 1}),
    "horizontal_detection": ({**OBJECTS, "boxes": BOX}, {"boxes": BOX, "class_labels": [1]}),
    "rotated_detection": (
        {**OBJECTS, "rotated_boxes": ROTATED},
        {"rotated_boxes": ROTATED, "rotated_class_labels": [1], "rotated_difficult": [0]},
    ),
    "semantic_segmentation": ({"semantic_map": np.minimum(MAP, 1)}, {"semantic_labels": MAP}),
    "change_detection": ({"change_map": np.minimum(MAP, 1)}, {"change_labels": MAP}),
}


def evaluator_of(task, *pairs):
    evaluator = TaskEvaluator(task, NAMES)
    for number, (prediction, reference) in enumerate(pairs):
        evaluator.update("set", [prediction], [{"image_id": str(number), **reference}])
    return evaluator


@pytest.mark.parametrize("task", HEADLINES)
def test_a_perfect_prediction_scores_one_by_every_headline(task):
    scores = evaluator_of(task, PERFECT[task]).compute()
    assert {name: scores[name] for name in HEADLINES[task]} == pytest.approx(
        dict.fromkeys(HEADLINES[task], 1.0)
    )
    assert scores["num_images"] == 1
    assert scores["table"].splitlines()[0].startswith("class")
    assert [line.split()[0] for line in scores["table"].splitlines()[1:]] == [*NAMES, "all"]


@pytest.mark.parametrize("task", HEADLINES)
def test_shares_are_merged_without_counting_an_image_twice(task):
    one = evaluator_of(task, PERFECT[task])
    one.merge([evaluator_of(task, PERFECT[task], PERFECT[task]).state()])
    assert one.compute()["num_images"] == 2


@pytest.mark.parametrize("task", HEADLINES)
def test_nothing_measured_is_an_error(task):
    with pytest.raises(ValueError, match=f"{task}: no image was measured"):
        TaskEvaluator(task, NAMES).compute()


def test_change_is_scored_on_the_changed_pixels_alone():
    found = {"change_map": np.array([[1, 1], [0, 0]])}
    wanted = {"change_labels": np.array([[1, 0], [1, 0]])}
    scores = evaluator_of("change_detection", (found, wanted)).compute()
    assert scores["changed_precision"] == scores["changed_recall"] == scores["changed_f1"] == 0.5
    assert scores["changed_iou"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("difficult", "expected"), [(0, 0.0), (1, np.nan), (2, 0.0)])
def test_difficult_objects_are_ignored_and_cut_ones_count(difficult, expected):
    nothing = {"scores": [], "labels": [], "rotated_boxes": np.zeros((0, 5))}
    wanted = PERFECT["rotated_detection"][1] | {"rotated_difficult": [difficult]}
    scores = evaluator_of("rotated_detection", (nothing, wanted)).compute()
    np.testing.assert_equal(scores["per_class"]["ap50"][1], expected)


def test_difficult_objects_count_where_the_protocol_says_so():
    nothing = {"scores": [], "labels": [], "rotated_boxes": np.zeros((0, 5))}
    wanted = PERFECT["rotated_detection"][1] | {"rotated_difficult": [1], "image_id": "a"}
    evaluator = TaskEvaluator("rotated_detection", NAMES, ignore_difficult=False)
    evaluator.update("set", [nothing], [wanted])
    assert evaluator.compute()["per_class"]["num_gts"].tolist() == [0, 1]


def test_results_are_known_by_the_published_metric():
    names = [headline(task) for task in HEADLINES]
    assert names == ["accuracy", "box_ap50", "ap50", "miou", "changed_f1"]
