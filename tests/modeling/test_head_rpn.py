import math

import pytest
import torch

from mtp_hf.modeling.head_rpn import (
    AnchorMatching,
    OrientedRPNHead,
    ProposalSelection,
    RPNHead,
    RPNPredictions,
)
from mtp_hf.modeling.ops_anchors import AnchorGenerator

SIZE = (64, 64)


def _head(cls=RPNHead, **matching):
    anchors = AnchorGenerator([8, 16], [2], [0.5, 1.0, 2.0])
    selection = ProposalSelection(20, 10, 0.7)
    return cls(
        8,
        anchors,
        matching=AnchorMatching(**matching),
        train_selection=selection,
        test_selection=ProposalSelection(20, 5, 0.7),
    )


def _maps(batch=2):
    return [torch.randn(batch, 8, 8, 8), torch.randn(batch, 8, 4, 4)]


def test_predictions_follow_the_order_of_anchors():
    head = _head()
    predictions = head(_maps())
    assert [tuple(x.shape) for x in predictions.objectness_logits] == [(2, 192), (2, 48)]
    assert [tuple(x.shape) for x in predictions.box_deltas] == [(2, 192, 4), (2, 48, 4)]
    # Raise the bias of the second ratio: every third anchor, from the second, rises.
    head.objectness.bias.data[1] += 100
    raised = head(_maps()).objectness_logits[0][0] > 50
    assert raised.nonzero().flatten().tolist() == list(range(1, 192, 3))


def test_loss_of_zero_logits_is_log_two_and_boxes_on_anchors_cost_nothing():
    head = _head()
    predictions = head(_maps(1))
    anchor = predictions.anchors[1][20:21]
    zeros = RPNPredictions(
        [torch.zeros_like(x) for x in predictions.objectness_logits],
        [torch.zeros_like(x) for x in predictions.box_deltas],
        predictions.anchors,
        predictions.feature_sizes,
    )
    losses = head.loss(zeros, [anchor], [SIZE])
    assert math.isclose(float(losses["loss_rpn_objectness"]), math.log(2), rel_tol=1e-5)
    assert float(losses["loss_rpn_box"]) >= 0


def test_no_object_gives_box_loss_of_zero_connected_to_the_graph():
    head = _head()
    losses = head.loss(head(_maps()), [torch.zeros(0, 4)] * 2, [SIZE] * 2)
    assert float(losses["loss_rpn_box"]) == 0
    sum(losses.values()).backward()
    assert head.regressor.weight.grad is not None


def test_image_without_anchor_inside_trains_nothing():
    head = _head(OrientedRPNHead, allowed_border=0)
    boxes = torch.tensor([[2.0, 2.0, 3.0, 2.0, 0.1]])
    losses = head.loss(head(_maps(1)), [boxes], [(4, 4)])
    assert float(sum(losses.values())) == 0


def test_anchors_beyond_the_border_do_not_train():
    head = _head(OrientedRPNHead, allowed_border=0, num_samples=10**6)
    anchors = torch.cat(head(_maps(1)).anchors)
    boxes = torch.tensor([[20.0, 20.0, 16.0, 16.0, 0.0]])
    sizes = [(8, 8), (4, 4)]
    positive, negative, _ = head._sample_anchors(anchors, sizes, boxes, (40, 40))
    used = anchors[torch.cat([positive, negative])]
    assert len(used) and (used >= 0).all() and (used < 40).all()


@pytest.mark.parametrize(("divisor", "rows"), [(0, 8), (16, 6), (48, 6), (64, 8)])
def test_anchors_beyond_the_padded_image_do_not_train(divisor, rows):
    head = _head(pad_divisor=divisor, num_samples=10**6)
    predictions = head(_maps(1))
    anchors, boxes = torch.cat(predictions.anchors), torch.tensor([[4.0, 4.0, 20.0, 20.0]])
    # 40 x 40 pixels: padded to 48, six of the eight cells of stride 8 begin inside.
    indices = head._sample_anchors(anchors, predictions.feature_sizes, boxes, (40, 40))[1]
    finest = indices[indices < 192] // 3
    assert int(finest.max()) == rows * 8 - (8 - rows) - 1


@pytest.mark.parametrize(("cls", "width"), [(RPNHead, 4), (OrientedRPNHead, 5)])
def test_proposals_are_limited_and_clipped(cls, width):
    head = _head(cls)
    proposals = head.propose(head(_maps()), [SIZE, (40, 32)])
    assert all(p.shape[1] == width and len(p) <= 10 for p in proposals)
    if cls is RPNHead:
        assert proposals[1][:, 2].max() <= 32 and proposals[1][:, 3].max() <= 40
    assert all(len(p) <= 5 for p in head.eval().propose(head(_maps()), [SIZE] * 2))


def test_a_batch_proposes_what_its_images_propose():
    head = _head().eval()
    maps = _maps(2)
    together = head.propose(head(maps), [SIZE] * 2)
    alone = head.propose(head([x[1:] for x in maps]), [SIZE])
    torch.testing.assert_close(together[1], alone[0], rtol=1e-4, atol=1e-3)


def test_selected_images_keep_their_predictions():
    predictions = _head()(_maps(3))
    chosen = predictions.select([2, 0])
    assert torch.equal(chosen.objectness_logits[0][1], predictions.objectness_logits[0][0])
    assert torch.equal(chosen.box_deltas[1][0], predictions.box_deltas[1][2])
