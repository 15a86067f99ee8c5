"""Mask targets and pasting."""

import pytest
import torch
import torch.nn.functional as F

from mtp_hf.modeling import ops_masks
from mtp_hf.modeling.ops_masks import mask_targets, paste_masks


def random_boxes(num_boxes, height, width):
    corners = torch.rand(num_boxes, 2, 2) * torch.tensor([width, height])
    low, high = corners.amin(1), corners.amax(1)
    return torch.cat((low, high + 2), dim=1)


def pasted_by_grid_sample(mask_probs, boxes, size):
    """The definition: read the mask at every pixel centre of the image."""
    height, width = size
    result = []
    for probs, (x1, y1, x2, y2) in zip(mask_probs, boxes.tolist(), strict=True):
        y = (torch.arange(height) + 0.5 - y1) / (y2 - y1) * 2 - 1
        x = (torch.arange(width) + 0.5 - x1) / (x2 - x1) * 2 - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]
        result.append(F.grid_sample(probs[None, None], grid, align_corners=False)[0, 0])
    return torch.stack(result)


def test_the_target_of_a_box_on_pixel_edges_is_the_mask_enlarged():
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[0, 2:4, 2:6] = True
    target = mask_targets(masks, torch.tensor([[2.0, 2, 6, 6]]), torch.tensor([0]), size=4)
    assert target.tolist() == [[[1.0] * 4, [1.0] * 4, [0.0] * 4, [0.0] * 4]]


def test_every_box_is_cut_from_its_own_mask():
    masks = torch.stack([torch.zeros(10, 10), torch.ones(10, 10)]).bool()
    boxes = torch.tensor([[1.0, 1, 9, 9]]).repeat(3, 1)
    targets = mask_targets(masks, boxes, torch.tensor([1, 0, 1]))
    assert targets.mean((1, 2)).tolist() == [1.0, 0.0, 1.0]


def test_parts_give_the_same_targets_as_the_whole(monkeypatch):
    masks, boxes = torch.rand(5, 20, 30) > 0.5, random_boxes(16, 20, 30)
    index = torch.randint(5, (16,))
    whole = mask_targets(masks, boxes, index)
    monkeypatch.setattr(ops_masks, "MAX_PIXELS", 20 * 30 * 3)
    assert torch.equal(mask_targets(masks, boxes, index), whole)


def test_a_full_mask_fills_its_box_and_nothing_else():
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([[2.0, 3, 7, 9]]), (12, 10))
    expected = torch.zeros(12, 10, dtype=torch.bool)
    expected[3:9, 2:7] = True
    assert torch.equal(pasted[0], expected)


def test_pasting_is_bilinear_reading_of_the_mask_at_pixel_centres():
    probs, boxes = torch.rand(12, 14, 14), random_boxes(12, 40, 60) - 5
    sampled = pasted_by_grid_sample(probs, boxes, (40, 60))
    is_clear = (sampled - 0.5).abs() > 1e-5
    pasted = paste_masks(probs, boxes, (40, 60))
    assert torch.equal(pasted[is_clear], (sampled >= 0.5)[is_clear])
    assert is_clear.float().mean() > 0.99


def test_the_threshold_is_a_probability():
    probs = torch.full((1, 28, 28), 0.3)
    box = torch.tensor([[0.0, 0, 4, 4]])
    assert not paste_masks(probs, box, (4, 4)).any()
    assert paste_masks(probs, box, (4, 4), threshold=0.2)[0, 1:3, 1:3].all()


def test_parts_are_pasted_like_the_whole(monkeypatch):
    probs, boxes = torch.rand(9, 28, 28), random_boxes(9, 30, 30)
    whole = paste_masks(probs, boxes, (30, 30))
    monkeypatch.setattr(ops_masks, "MAX_PIXELS", 2000)
    assert torch.equal(paste_masks(probs, boxes, (30, 30)), whole)


def test_boxes_without_area_give_empty_masks():
    boxes = torch.tensor([[3.0, 3, 3, 8], [4.2, 4.2, 4.2, 4.2]])
    assert not paste_masks(torch.ones(2, 28, 28), boxes, (10, 10)).any()


def test_a_mask_cut_out_and_pasted_back_is_the_mask():
    masks = torch.zeros(1, 60, 60, dtype=torch.bool)
    masks[0, 10:38, 20:48] = torch.ones(28, 28).triu().bool()
    box = torch.tensor([[20.0, 10, 48, 38]])
    target = mask_targets(masks, box, torch.tensor([0]))
    assert torch.equal(paste_masks(target, box, (60, 60)), masks)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_probabilities_are_pasted_in_float32(dtype):
    probs, boxes = torch.rand(4, 28, 28).to(dtype), random_boxes(4, 30, 30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pasted = paste_masks(probs, boxes, (30, 30))
    assert torch.equal(pasted, paste_masks(probs.float(), boxes, (30, 30)))


def test_no_boxes_give_empty_results():
    empty = torch.zeros(0, 4)
    assert paste_masks(torch.zeros(0, 28, 28), empty, (5, 6)).shape == (0, 5, 6)
    targets = mask_targets(torch.zeros(0, 5, 6).bool(), empty, torch.zeros(0).long())
    assert targets.shape == (0, 28, 28)
