import math

import pytest
import torch

from mtp_hf.modeling.head_box import (
    BoxClassifier,
    BoxHead,
    BoxPredictions,
    DetectionSelection,
    RegionSampling,
    SampledRegions,
    to_rois,
)
from mtp_hf.modeling.head_oriented_box import OrientedBoxHead

BOX = torch.tensor([[10.0, 10.0, 30.0, 30.0]])
ROTATED = torch.tensor([[20.0, 20.0, 20.0, 10.0, 0.3]])


def _head(cls=BoxHead, **options):
    return cls(
        4,
        16,
        strides=[4, 8],
        roi_size=7,
        finest_scale=56,
        sampling=RegionSampling(num_samples=8),
        selection=options.pop("selection", DetectionSelection()),
        **options,
    )


def _maps(batch=1):
    return [torch.randn(batch, 4, 16, 16), torch.randn(batch, 4, 8, 8)]


def _certain(label, num_labels, rows=1, deltas=4, agnostic=False):
    logits = torch.full((rows, num_labels + 1), -20.0)
    logits[:, label] = 20.0
    return BoxPredictions(logits, torch.zeros(rows, 1 if agnostic else num_labels, deltas))


def test_rois_carry_their_image():
    rois = to_rois([torch.ones(2, 4), torch.zeros(0, 4), torch.ones(1, 4)])
    assert rois[:, 0].tolist() == [0.0, 0.0, 2.0]


def test_ground_truth_joins_the_sampled_regions_first():
    proposals = torch.tensor([[10.0, 10.0, 30.0, 28.0], [40.0, 40.0, 60.0, 60.0]])
    sample = _head().sample([proposals], [BOX], [torch.tensor([2])])[0]
    assert sample.positive_boxes.tolist() == [BOX[0].tolist(), proposals[0].tolist()]
    assert sample.labels.tolist() == [2, 2, -1] and sample.matched.tolist() == [0, 0]


def test_image_without_objects_samples_background_only():
    sample = _head().sample(
        [torch.rand(5, 4).cumsum(1)], [torch.zeros(0, 4)], [torch.zeros(0).long()]
    )
    assert sample[0].labels.tolist() == [-1] * 5


@pytest.mark.parametrize(("cls", "box"), [(BoxHead, BOX), (OrientedBoxHead, ROTATED)])
def test_right_class_and_box_cost_nothing(cls, box):
    head = _head(cls)
    sample = SampledRegions(box, torch.tensor([0]), torch.tensor([1]))
    predictions = _certain(1, 3, deltas=head.coder.num_deltas, agnostic=head.class_agnostic)
    losses = head.loss(predictions, [sample], [box])
    assert float(losses["loss_box_class"]) < 1e-6 and abs(float(losses["loss_box_reg"])) < 1e-5


def test_box_loss_reads_the_column_of_the_class_and_divides_by_all_regions():
    head = _head()
    sample = SampledRegions(BOX.repeat(2, 1), torch.tensor([0]), torch.tensor([1, -1]))
    predictions = _certain(1, 3, rows=2)
    predictions.box_deltas[0, 0] = 100.0  # the column of another class
    predictions.box_deltas[0, 1, 0] = 3.0
    losses = head.loss(predictions, [sample], [BOX])
    assert math.isclose(float(losses["loss_box_reg"]), 3.0 / 2, rel_tol=1e-6)


def test_unit_target_is_the_mistake_of_the_original():
    head = _head(use_unit_target=True)
    sample = SampledRegions(BOX, torch.tensor([0]), torch.tensor([1]))
    losses = head.loss(_certain(1, 3), [sample], [BOX])
    assert float(losses["loss_box_reg"]) == 4.0  # four deltas of 0 against 1, one region


def test_detections_exceed_the_threshold_and_do_not_overlap():
    head = _head()
    proposals = torch.cat([BOX, BOX + 1, BOX + 60])
    found = head.predict(_certain(1, 3, rows=3), proposals, (128, 128))
    assert found["labels"].tolist() == [1, 1] and len(found["boxes"]) == 2


def test_detections_are_limited_and_best_first():
    head = _head(selection=DetectionSelection(0.05, 0.5, 2))
    logits = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    proposals = torch.cat([BOX, BOX + 40, BOX + 80])
    found = head.predict(BoxPredictions(logits, torch.zeros(3, 1, 4)), proposals, (200, 200))
    assert found["boxes"][:, 0].round().tolist() == [50.0, 90.0]


def test_background_and_no_region_give_no_detection():
    head = _head()
    assert len(head.predict(_certain(3, 3), BOX, (64, 64))["scores"]) == 0
    empty = BoxPredictions(torch.zeros(0, 4), torch.zeros(0, 3, 4))
    assert head.predict(empty, torch.zeros(0, 4), (64, 64))["boxes"].shape == (0, 4)


@pytest.mark.parametrize(("cls", "box"), [(BoxHead, BOX), (OrientedBoxHead, ROTATED)])
def test_regions_of_a_batch_equal_regions_of_its_images(cls, box):
    head, maps = _head(cls), _maps(2)
    together = head(maps, [box, box])
    alone = head([x[1:] for x in maps], [box])
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_classifier_has_a_box_for_each_class_or_one_for_all():
    own = BoxClassifier(16, 3, num_deltas=4, class_agnostic=False)(torch.randn(5, 16))
    assert own.box_deltas.shape == (5, 3, 4)
    shared = BoxClassifier(16, 3, num_deltas=5, class_agnostic=True)(torch.randn(5, 16))
    assert shared.box_deltas.shape == (5, 1, 5) and shared.class_logits.shape == (5, 4)
