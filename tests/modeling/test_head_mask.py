import torch

from mtp_hf.modeling.head_box import SampledRegions
from mtp_hf.modeling.head_mask import MaskHead

BOX = torch.tensor([[8.0, 8.0, 24.0, 24.0]])


def _head():
    return MaskHead(4, 6, 2, strides=[4, 8], roi_size=14, finest_scale=56)


def _sample():
    return SampledRegions(BOX, torch.tensor([0]), torch.tensor([1]))


def _mask():
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[:, 8:24, 8:16] = True  # the left half of the box
    return mask


def test_maps_have_twice_the_pooled_side():
    maps = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)]
    assert _head()(maps, [BOX]).shape == (1, 6, 28, 28)
    assert _head()(maps, [torch.zeros(0, 4)]).shape == (0, 6, 28, 28)


def test_the_right_mask_costs_little_and_only_its_class_counts():
    logits = torch.full((1, 3, 28, 28), -20.0)
    logits[0, 1, :, :14] = 20.0
    loss = _head().loss(logits, [_sample()], [_mask()])["loss_mask"]
    logits[0, 0] = 100.0
    again = _head().loss(logits, [_sample()], [_mask()])["loss_mask"]
    assert float(loss) < 1e-6 and torch.equal(loss, again)


def test_no_object_gives_a_connected_zero():
    head = _head()
    features = head([torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)], [torch.zeros(0, 4)])
    empty = SampledRegions(torch.zeros(2, 4), torch.zeros(0).long(), torch.tensor([-1, -1]))
    loss = head.loss(features[:, :3], [empty], [torch.zeros(0, 32, 32, dtype=torch.bool)])
    loss["loss_mask"].backward()
    assert float(loss["loss_mask"]) == 0 and head.upsample.weight.grad is not None


def test_prediction_is_the_probability_of_the_class():
    logits = torch.zeros(2, 3, 28, 28)
    logits[1, 2] = 20.0
    probabilities = _head().predict(logits, torch.tensor([0, 2]))
    assert float(probabilities[0].mean()) == 0.5 and float(probabilities[1].min()) > 0.99
