"""Claims about the head of RetinaNet, by hand-made predictions."""

import pytest
import torch

from mtp_hf.modeling.head_box import DetectionSelection
from mtp_hf.modeling.head_retinanet import AnchorLabelling, AnchorPredictions, RetinaNetHead
from mtp_hf.modeling.ops_anchors import AnchorGenerator

SIZE = (32, 32)


def _head(num_labels=2, pre_nms=1000, scales=(2,), **labelling):
    return RetinaNetHead(
        4,
        num_labels,
        1,
        anchors=AnchorGenerator((8, 16), scales, (1.0,)),
        labelling=AnchorLabelling(**labelling),
        selection=DetectionSelection(0.05, 0.5, 100),
        pre_nms=pre_nms,
    )


def _predictions(head, fill=0.0):
    """All logits equal, all deltas zero, for one image of 32 x 32."""
    sizes = [(4, 4), (2, 2)]
    anchors = head.anchors.grid(sizes)
    logits = [torch.full((1, len(a), head.num_labels), fill) for a in anchors]
    return AnchorPredictions(logits, [torch.zeros(1, len(a), 4) for a in anchors], anchors, sizes)


def test_predictions_follow_anchors_then_classes():
    head = _head(scales=(2, 3))
    with torch.no_grad():
        head.classifier.weight.zero_()
        head.classifier.bias.copy_(torch.arange(4.0))
        head.regressor.weight.zero_()
        head.regressor.bias.copy_(torch.arange(8.0))
    found = head([torch.randn(1, 4, 4, 4), torch.randn(1, 4, 2, 2)])
    assert [len(a) for a in found.anchors] == [32, 8]
    assert found.class_logits[0][0, :2].tolist() == [[0, 1], [2, 3]]
    assert found.box_deltas[1][0, 2:4].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_loss_by_hand():
    """One object on the anchor of cell (1, 1); its neighbours overlap by a third: background."""
    head = _head()
    predictions = _predictions(head)
    boxes, labels = torch.tensor([[0.0, 0.0, 16.0, 16.0]]), torch.tensor([1])
    predictions.box_deltas[0][0, 5] = torch.tensor([0.5, 0.0, -0.25, 0.0])
    losses = head.loss(predictions, [boxes], [labels], [SIZE])
    # p = 1/2: 1/4 * 1/4 * log 2 for the object, 3/4 * 1/4 * log 2 for each of the 39 others.
    log2 = torch.tensor(2.0).log()
    torch.testing.assert_close(losses["loss_class"], (1 + 39 * 3) / 16 * log2)
    torch.testing.assert_close(losses["loss_box"], torch.tensor(0.75))


def test_anchors_between_the_thresholds_do_not_train():
    head = _head(positive_threshold=0.9, negative_threshold=0.3)
    boxes = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    losses = head.loss(_predictions(head), [boxes], [torch.tensor([0])], [SIZE])
    # The four neighbours with an overlap of a third are left out, 19 - 4 anchors are background.
    log2 = torch.tensor(2.0).log()
    torch.testing.assert_close(losses["loss_class"], (1 + (39 - 8) * 3) / 16 * log2)


def test_every_object_keeps_its_best_anchor_however_small_the_overlap():
    head = _head()
    boxes = torch.tensor([[1.0, 1.0, 2.0, 2.0]])
    candidates, matches = head._match(
        torch.cat(_predictions(head).anchors), boxes, SIZE, [(4, 4), (2, 2)]
    )
    assert len(candidates) == 20 and (matches == 0).sum() == 4  # four anchors tie
    assert (matches[matches != 0] == -1).all()


def test_the_sum_is_divided_by_the_anchors_of_objects_of_all_images():
    head = _head()
    one = _predictions(head)
    two = AnchorPredictions(
        [x.repeat(2, 1, 1) for x in one.class_logits],
        [x.repeat(2, 1, 1) for x in one.box_deltas],
        one.anchors,
        one.feature_sizes,
    )
    box = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    none = torch.zeros(0, 4)
    losses = head.loss(
        two, [box, none], [torch.tensor([1]), torch.zeros(0, dtype=torch.int64)], [SIZE] * 2
    )
    # An image without objects counts as one: (1 + 39 * 3 + 40 * 3) / 16 over 2.
    expected = (1 + 39 * 3 + 40 * 3) / 32 * torch.tensor(2.0).log()
    torch.testing.assert_close(losses["loss_class"], expected)
    assert float(losses["loss_box"]) == 0


@pytest.mark.parametrize(("divisor", "cells"), [(0, 20), (16, 5), (32, 20)])
def test_anchors_beyond_the_padded_image_do_not_train(divisor, cells):
    head = _head(pad_divisor=divisor)
    anchors = torch.cat(_predictions(head).anchors)
    candidates, _ = head._match(anchors, torch.zeros(0, 4), (10, 10), [(4, 4), (2, 2)])
    assert len(candidates) == cells


def test_detections_by_hand():
    head = _head()
    predictions = _predictions(head, fill=-10.0)
    predictions.class_logits[0][0, 5, 0] = 2.0  # 0 0 16 16
    predictions.class_logits[0][0, 5, 1] = 1.0  # the same place, another class
    predictions.class_logits[0][0, 0, 0] = 3.0  # -8 -8 8 8, clipped
    predictions.box_deltas[0][0, 10] = torch.tensor([-0.5, -0.5, 0.0, 0.0])  # on the first
    predictions.class_logits[0][0, 10, 0] = 0.0
    (found,) = head.predict(predictions, [SIZE])
    assert found["labels"].tolist() == [0, 0, 1]
    assert found["boxes"].tolist() == [[0, 0, 8, 8], [0, 0, 16, 16], [0, 0, 16, 16]]
    torch.testing.assert_close(found["scores"], torch.tensor([3.0, 2.0, 1.0]).sigmoid())


def test_the_best_scores_of_each_level_go_on():
    head = _head(pre_nms=1)
    predictions = _predictions(head, fill=1.0)
    predictions.class_logits[0][0, 5, 1] = 2.0
    predictions.class_logits[1][0, 3, 0] = 3.0
    (found,) = head.predict(predictions, [SIZE])
    torch.testing.assert_close(found["scores"], torch.tensor([3.0, 2.0]).sigmoid())
    assert found["labels"].tolist() == [0, 1]


def test_boxes_without_area_are_no_detections():
    head = _head()
    predictions = _predictions(head, fill=-10.0)
    predictions.class_logits[0][0, 15, 0] = 3.0  # 16 16 32 32
    assert len(head.predict(predictions, [SIZE])[0]["scores"]) == 1
    assert len(head.predict(predictions, [(16, 16)])[0]["scores"]) == 0
