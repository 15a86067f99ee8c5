import subprocess
import sys

import evaluate
import numpy as np
import pytest
import torch

from mtp_hf.metrics import (
    ChangeMetric,
    ClassificationMetric,
    CocoMapMetric,
    RotatedMapMetric,
    SegmentationMetric,
)

BOX = np.array([[20.0, 20.0, 16.0, 8.0, 0.5]])
MASK = np.zeros((1, 32, 32), dtype=bool)
MASK[:, 4:20, 4:20] = True


def test_segmentation_scores_maps_of_different_sizes():
    metric = SegmentationMetric(2)
    assert isinstance(metric, evaluate.Metric)
    metric.add(prediction=np.array([[0, 1], [1, 1]]), reference=np.array([[0, 0], [1, 255]]))
    metric.add_batch(predictions=[np.array([[1]])], references=[np.array([[1]])])
    scores = metric.compute()
    assert scores["per_class"]["iou"].tolist() == [0.5, 2 / 3]


def test_computing_forgets_the_images():
    metric = SegmentationMetric(2)
    for value in (0, 1):
        scores = metric.compute(predictions=[np.array([[0]])], references=[np.array([[value]])])
        assert scores["overall_accuracy"] == 1 - value


def test_boxes_and_masks_score_one_when_repeated():
    reference = {
        "image_id": "a",
        "boxes": np.array([[4.0, 4.0, 20.0, 20.0]]),
        "class_labels": [0],
        "instance_masks": MASK,
    }
    prediction = {"scores": [0.5], "labels": [0], "boxes": reference["boxes"], "masks": MASK}
    scores = CocoMapMetric(1).compute(predictions=[prediction], references=[reference])
    assert scores["box_ap"] == pytest.approx(1.0)
    assert scores["mask_ap"] == pytest.approx(1.0)


def test_rotated_boxes_score_one_when_repeated():
    reference = {"image_id": "a", "rotated_boxes": BOX, "rotated_class_labels": [0]}
    prediction = {"scores": [0.5], "labels": [0], "rotated_boxes": BOX}
    metric = RotatedMapMetric(1, iou_threshold=0.75, interpolation="area")
    scores = metric.compute(predictions=[prediction], references=[reference])
    assert scores["ap75"] == pytest.approx(1.0)


def test_what_changed_is_the_positive_class():
    metric = ChangeMetric()
    # Hits 2, false alarm 1, miss 1; the ignored pixel would be another miss.
    found = np.array([[1, 1, 1, 0, 0, 0]])
    wanted = np.array([[1, 1, 0, 1, 0, 255]])
    scores = metric.compute(predictions=[found], references=[wanted])
    assert scores["precision"] == scores["recall"] == scores["f1"] == pytest.approx(2 / 3)
    assert scores["iou"] == pytest.approx(0.5)
    assert scores["overall_accuracy"] == pytest.approx(3 / 5)
    assert isinstance(metric, evaluate.Metric)


def test_scenes_are_scored_by_the_best_and_the_five_best_classes():
    metric = ClassificationMetric(6)
    assert isinstance(metric, evaluate.Metric)
    scores = np.array([0.3, 0.25, 0.2, 0.15, 0.1, 0.0])
    for name, label in (("a", 0), ("b", 4), ("c", 5), ("d", 0)):
        metric.add(prediction={"scores": scores}, reference={"image_id": name, "label": label})
    found = metric.compute()
    assert found["accuracy"] == pytest.approx(2 / 4)
    assert found["top5_accuracy"] == pytest.approx(3 / 4)
    assert found["confusion"][:, 0].tolist() == [2, 0, 0, 0, 1, 1]
    assert metric.accumulator.images == {}


METRICS = {
    "maps": lambda: SegmentationMetric(2),
    "change": ChangeMetric,
    "scenes": lambda: ClassificationMetric(2),
    "boxes": lambda: CocoMapMetric(2),
    "rotated": lambda: RotatedMapMetric(2),
}


def test_processes_that_measure_different_maps_lose_none():
    one, two, alone = (SegmentationMetric(2) for _ in range(3))
    for value, metric in enumerate((one, two)):
        maps = {"prediction": np.array([[0, 0]]), "reference": np.array([[0, value]])}
        metric.add(**maps)
        alone.add(**maps)
    one.accumulator.merge([two.accumulator.state()])
    assert one.compute()["overall_accuracy"] == alone.compute()["overall_accuracy"] == 0.75


def test_a_map_that_two_processes_have_by_name_counts_once():
    one, two = SegmentationMetric(2), SegmentationMetric(2)
    for metric in (one, two):
        reference = {"image_id": "a", "labels": np.array([[0, 1]])}
        metric.add(prediction=np.array([[0, 0]]), reference=reference)
    one.accumulator.merge([two.accumulator.state()])
    assert one.compute()["per_class"]["num_reference"].tolist() == [1, 1]


def test_an_image_named_by_a_tensor_counts_once():
    metric = RotatedMapMetric(1)
    found = {"scores": [0.5], "labels": [0], "rotated_boxes": BOX}
    for _ in range(2):
        wanted = {"rotated_boxes": BOX, "rotated_class_labels": [0]}
        metric.add(prediction=found, reference={"image_id": torch.tensor([3]), **wanted})
    assert metric.compute()["per_class"]["num_gts"].tolist() == [1]


def test_scenes_may_be_given_as_classes_alone():
    scores = ClassificationMetric(3).compute(predictions=[0, 1, 2, 2], references=[0, 1, 2, 0])
    assert scores["accuracy"] == 0.75


def test_scenes_may_be_given_as_bare_scores():
    scores = ClassificationMetric(2).compute(
        predictions=np.array([[0.2, 0.8], [0.9, 0.1]]), references=[1, 1]
    )
    assert (scores["accuracy"], scores["top5_accuracy"]) == (0.5, 1.0)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_score_of_nothing_is_an_error(metric):
    with pytest.raises(ValueError, match="no image was added, expected at least one"):
        metric().compute()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("given", ["predictions", "references"])
def test_one_side_alone_is_refused(metric, given):
    with pytest.raises(ValueError, match="expected predictions and references, got no"):
        metric().compute(**{given: [{}]})


def test_as_many_references_as_predictions_are_expected():
    with pytest.raises(ValueError, match="1 predictions and 2 references"):
        ClassificationMetric(2).compute(predictions=[1], references=[1, 0])


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_reference_that_is_not_one_is_named(metric):
    found = {"scores": [1.0, 0.0], "labels": [0, 1], "rotated_boxes": []}
    with pytest.raises(ValueError, match="reference has no"):
        metric().compute(predictions=[found], references=[{"image_id": "a"}])


def test_unknown_inputs_are_refused():
    with pytest.raises(ValueError, match="weights"):
        SegmentationMetric(2).compute(predictions=[], references=[], weights=[])


def test_metrics_combine_with_those_of_evaluate():
    combined = evaluate.combine({"ours": SegmentationMetric(2), "same": SegmentationMetric(2)})
    scores = combined.compute(predictions=[np.array([[0]])], references=[np.array([[0]])])
    assert scores["ours_miou"] == scores["same_miou"] == 1.0


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metric = SegmentationMetric(2)
    metric.compute(predictions=[np.array([[0]])], references=[np.array([[0]])])
    assert metric.data_dir == ""
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_does_not_import_evaluate():
    code = "import sys, mtp_hf.metrics; assert 'evaluate' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_of_the_package_are_attribute_errors():
    import mtp_hf.metrics

    with pytest.raises(AttributeError, match="PanopticMetric"):
        mtp_hf.metrics.PanopticMetric  # noqa: B018
