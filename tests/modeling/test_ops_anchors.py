"""Anchors: shapes, order and which of them count."""

import pytest
import torch

from mtp_hf.modeling.ops_anchors import (
    AnchorGenerator,
    anchors_inside,
    anchors_valid,
    order_by_anchor,
)

GENERATOR = AnchorGenerator((4, 8), (2, 4), (0.25, 1))


def test_base_anchors_are_ratio_by_ratio_and_scale_by_scale():
    """Ratio is height over width at equal area; a quarter means twice as wide, half as high."""
    expected = [[-8, -2, 8, 2], [-16, -4, 16, 4], [-4, -4, 4, 4], [-8, -8, 8, 8]]
    assert GENERATOR.base_anchors(0).tolist() == expected


def test_a_cell_has_as_many_anchors_as_scales_times_ratios():
    assert GENERATOR.num_anchors == 4


def test_cells_are_row_by_row_and_the_first_is_centred_at_the_origin():
    anchors = GENERATOR.grid([(2, 3), (1, 1)])[0].view(6, 4, 4)
    centers = (anchors[..., :2] + anchors[..., 2:]) / 2
    expected = [[0, 0], [4, 0], [8, 0], [0, 4], [4, 4], [8, 4]]
    assert centers[:, 0].tolist() == expected
    assert torch.equal(centers, centers[:, :1].expand(6, 4, 2))


def test_every_level_has_its_own_stride():
    first, second = GENERATOR.grid([(3, 3), (3, 3)])
    assert torch.equal(second, first * 2)


def test_anchors_of_one_scale_have_the_same_area():
    anchors = AnchorGenerator((16,), (8,), (0.5, 1, 2)).base_anchors(0)
    areas = (anchors[:, 2:] - anchors[:, :2]).prod(1)
    torch.testing.assert_close(areas, torch.full((3,), 128.0**2))


def test_an_empty_map_has_no_anchors():
    assert GENERATOR.grid([(0, 3), (1, 1)])[0].shape == (0, 4)


BOXES = torch.tensor([[0.0, 0, 9, 9], [-1, 0, 9, 9], [0, 0, 10, 9], [2, 2, 9, 20], [-3, 0, 9, 9]])


def test_without_border_anchors_must_end_before_the_far_edges():
    assert anchors_inside(BOXES, (20, 10), 0).tolist() == [True, False, False, False, False]


def test_a_border_allows_that_much_overhang():
    assert anchors_inside(BOXES, (20, 10), 2).tolist() == [True, True, True, True, False]


def test_a_negative_border_accepts_all():
    assert anchors_inside(BOXES, (1, 1), -1).all()


def test_cells_that_start_in_the_padding_are_not_valid():
    """9 x 5 pixels at stride 4 fill 3 rows and 2 columns."""
    valid = anchors_valid([(4, 3)], [4], (9, 5), num_anchors=2).view(4, 3, 2)
    expected = torch.zeros(4, 3, 2, dtype=torch.bool)
    expected[:3, :2] = True
    assert torch.equal(valid, expected)


@pytest.mark.parametrize("size", [(16, 24), (15, 21)])
def test_valid_flags_are_as_long_as_the_anchors_and_all_true_for_a_filled_map(size):
    feature_sizes = [(4, 6), (2, 3)]
    valid = anchors_valid(feature_sizes, [4, 8], size, num_anchors=4)
    assert len(valid) == len(torch.cat(GENERATOR.grid(feature_sizes)))
    assert valid.all()


def test_an_image_counts_as_padded_to_a_multiple_of_the_divisor():
    """9 x 5 pixels become 12 x 6, which at stride 4 fill 3 rows and 2 columns."""
    valid = anchors_valid([(4, 3)], [4], (9, 5), num_anchors=1, pad_divisor=6).view(4, 3)
    assert valid.sum() == 6 and valid[:3, :2].all()
    assert anchors_valid([(4, 3)], [4], (9, 5), num_anchors=1, pad_divisor=16).all()


def test_channels_become_cells_row_by_row_and_anchor_by_anchor():
    maps = torch.arange(2 * 2 * 3).view(1, 6, 1, 2)  # two anchors with three values, two cells
    expected = [[0, 2, 4], [6, 8, 10], [1, 3, 5], [7, 9, 11]]
    assert order_by_anchor(maps, 3).tolist() == [expected]
