"""RoI pooling, horizontal and rotated, from one map and from a pyramid."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from mtp_hf.modeling.ops_roi_align import (
    multilevel_roi_align,
    multilevel_rotated_roi_align,
    roi_levels,
    rotated_roi_align,
)


def random_rois(num_rois, batch=2, extent=100):
    values = torch.rand(num_rois, 6)
    scale = torch.tensor([0, extent, extent, 60, 40, math.pi])
    rois = values * scale + torch.tensor([0, 0, 0, 1, 1, -math.pi / 2])
    rois[:, 0] = torch.randint(batch, (num_rois,))
    return rois


def pooled_by_grid_sample(features, rois, output_size, scale, samples):
    """The definition: a turned grid, bilinear reading, mean over the samples of a bin."""
    height, width = features.shape[-2:]
    steps = (torch.arange(output_size * samples) + 0.5) / (output_size * samples) - 0.5
    result = []
    for image, cx, cy, w, h, angle in (rois * torch.tensor([1, *[scale] * 4, 1])).tolist():
        y, x = torch.meshgrid(steps * h, steps * w, indexing="ij")
        map_x = x * math.cos(angle) - y * math.sin(angle) + cx  # edge of pixel 0 is at 0
        map_y = x * math.sin(angle) + y * math.cos(angle) + cy
        grid = torch.stack((2 * map_x / width - 1, 2 * map_y / height - 1), dim=-1)[None]
        sampled = F.grid_sample(
            features[int(image)][None], grid, align_corners=False, padding_mode="border"
        )
        outside = (map_x < -0.5) | (map_y < -0.5) | (map_x > width + 0.5) | (map_y > height + 0.5)
        result.append(F.avg_pool2d(sampled * ~outside, samples)[0])
    return torch.stack(result)


def test_an_upright_box_on_pixel_edges_reads_the_pixels():
    features = torch.arange(16.0).view(1, 1, 4, 4)
    pooled = rotated_roi_align(features, torch.tensor([[0, 2.0, 2, 2, 2, 0]]), 2, 1.0, 1)
    assert pooled.tolist() == [[[[5.0, 6.0], [9.0, 10.0]]]]


def test_a_quarter_turn_clockwise_reads_columns_from_the_right():
    """Along the box is down in the map; across it is to the left."""
    features = torch.arange(16.0).view(1, 1, 4, 4)
    rois = torch.tensor([[0, 2.0, 2, 2, 2, math.pi / 2]])
    pooled = rotated_roi_align(features, rois, 2, 1.0, 1)
    torch.testing.assert_close(pooled, torch.tensor([[[[6.0, 10.0], [5.0, 9.0]]]]))


def test_a_constant_map_gives_the_constant_inside_and_zero_outside():
    features = torch.full((1, 3, 20, 20), 7.0)
    rois = torch.tensor([[0, 10.0, 10, 8, 4, 0.4], [0, 60.0, 60, 8, 4, 0.4]])
    pooled = rotated_roi_align(features, rois, 5, 1.0)
    torch.testing.assert_close(pooled[0], torch.full((3, 5, 5), 7.0))
    assert pooled[1].count_nonzero() == 0


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_pooling_is_the_mean_of_a_turned_grid(samples):
    features, rois = torch.randn(2, 5, 24, 32), random_rois(40)
    expected = pooled_by_grid_sample(features, rois, 7, 0.25, samples)
    pooled = rotated_roi_align(features, rois, 7, 0.25, samples)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("samples", [2, 0])
def test_boxes_without_angle_are_pooled_like_horizontal_ones(samples):
    features, rois = torch.randn(2, 4, 30, 30), random_rois(30)
    rois[:, 5] = 0
    corners = torch.cat((rois[:, 1:3] - rois[:, 3:5] / 2, rois[:, 1:3] + rois[:, 3:5] / 2), dim=1)
    expected = roi_align(
        features, torch.cat((rois[:, :1], corners), dim=1), 7, 0.25, samples or -1, aligned=True
    )
    pooled = rotated_roi_align(features, rois, 7, 0.25, samples)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=5e-5)


def test_a_channels_last_map_gives_the_same_result():
    features, rois = torch.randn(2, 6, 16, 20), random_rois(20, extent=60)
    expected = rotated_roi_align(features, rois, 7, 0.25)
    pooled = rotated_roi_align(features.to(memory_format=torch.channels_last), rois, 7, 0.25)
    assert torch.equal(pooled, expected)


@pytest.mark.parametrize("samples", [2, 0])
def test_the_gradient_is_the_one_of_the_turned_grid(samples):
    features, rois = torch.randn(2, 3, 12, 15, requires_grad=True), random_rois(12, extent=50)
    rois[:, 3:5] = 30.0  # one map pixel a sample: with output size 7 two samples a bin
    weights = torch.randn(12, 3, 7, 7)
    expected = torch.autograd.grad(
        (pooled_by_grid_sample(features, rois, 7, 0.25, 2) * weights).sum(), features
    )[0]
    pooled = rotated_roi_align(features, rois, 7, 0.25, samples)
    actual = torch.autograd.grad((pooled * weights).sum(), features)[0]
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


def test_the_gradient_is_the_transposed_operator():
    """<pool(x), y> = <x, gradient for y>: no finite differences needed, pooling is linear."""
    features, rois = torch.randn(2, 8, 24, 32, requires_grad=True), random_rois(60)
    pooled = rotated_roi_align(features, rois, 7, 0.25)
    other = torch.randn_like(pooled)
    pooled.backward(other)
    left = (pooled.detach().double() * other.double()).sum()
    right = (features.detach().double() * features.grad.double()).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-4)


@pytest.mark.parametrize("samples", [2, 0])
def test_no_rois_give_an_empty_result_that_is_connected_to_the_features(samples):
    features = torch.randn(1, 4, 8, 8, requires_grad=True)
    pooled = rotated_roi_align(features, torch.zeros(0, 6), 7, 0.25, samples)
    assert pooled.shape == (0, 4, 7, 7)
    pooled.sum().backward()
    assert features.grad.count_nonzero() == 0


def test_rois_without_area_read_one_point():
    features = torch.randn(1, 2, 8, 8)
    pooled = rotated_roi_align(features, torch.tensor([[0, 4.5, 3.5, 0, 0, 0.3]]), 3, 1.0)
    torch.testing.assert_close(pooled[0], features[0, :, 3, 4][:, None, None].expand(2, 3, 3))


def test_half_precision_features_are_pooled_in_float32_and_come_back_in_half():
    features, rois = torch.randn(1, 4, 16, 16).bfloat16(), random_rois(9, batch=1, extent=60)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = rotated_roi_align(features, rois, 7, 0.25)
    assert pooled.dtype == torch.bfloat16
    expected = rotated_roi_align(features.float(), rois, 7, 0.25)
    torch.testing.assert_close(pooled, expected.bfloat16())


def test_a_box_of_the_finest_scale_is_at_level_zero_and_each_doubling_is_one_level_up():
    areas = torch.tensor([1.0, 56, 111, 112, 223, 224, 448, 5000]) ** 2
    assert roi_levels(areas, 4).tolist() == [0, 0, 0, 1, 1, 2, 3, 3]


def test_empty_boxes_are_at_level_zero():
    assert roi_levels(torch.tensor([0.0, -4.0]), 4).tolist() == [0, 0]


@pytest.fixture
def pyramid():
    return [torch.randn(2, 4, 64 // 2**level, 64 // 2**level) for level in range(4)]


STRIDES = [4, 8, 16, 32]


def test_every_rotated_roi_is_pooled_from_its_own_level(pyramid):
    rois = random_rois(40, extent=250) * torch.tensor([1, 1, 1, 5, 5, 1])
    pooled = multilevel_rotated_roi_align(pyramid, rois, 7, STRIDES)
    levels = roi_levels(rois[:, 3] * rois[:, 4], 4).tolist()
    assert len(set(levels)) > 2
    for i, level in enumerate(levels):
        single = rotated_roi_align(pyramid[level], rois[i : i + 1], 7, 1 / STRIDES[level])
        torch.testing.assert_close(pooled[i], single[0])


def test_every_horizontal_roi_is_pooled_from_its_own_level(pyramid):
    low = torch.rand(30, 2) * 100
    high = low + 10 + torch.rand(30, 2) * 300
    rois = torch.cat((torch.randint(2, (30, 1)).float(), low, high), dim=1)
    pooled = multilevel_roi_align(pyramid, rois, 7, STRIDES)
    levels = roi_levels((high - low).prod(1), 4).tolist()
    assert len(set(levels)) > 2
    for i, level in enumerate(levels):
        single = roi_align(pyramid[level], rois[i : i + 1], 7, 1 / STRIDES[level], aligned=True)
        torch.testing.assert_close(pooled[i], single[0])


def odd_horizontal_rois():
    """Inside, across every border, outside, larger than the map, and without extent."""
    low = torch.rand(60, 2) * 300 - 60
    sides = torch.rand(60, 2) ** 2 * 400
    sides[:6, 0] = 0
    sides[3:9, 1] = 0
    corners = [[-90.0, -90, 400, 400], [300, 10, 340, 60], [0, 0, 256, 256], [8, 8, 8, 8]]
    boxes = torch.cat((torch.cat((low, low + sides), dim=1), torch.tensor(corners)))
    return torch.cat((torch.randint(2, (64, 1)).float(), boxes), dim=1)


@pytest.mark.parametrize("output_size", [1, 7, 14])
def test_horizontal_pooling_and_its_gradient_are_torchvisions(output_size):
    features = torch.randn(2, 5, 64, 62, requires_grad=True)
    rois = odd_horizontal_rois()
    expected = roi_align(features, rois, output_size, 0.25, aligned=True)
    pooled = multilevel_roi_align([features], rois, output_size, [4])
    # Places of samples are rounded differently: up to 4e-6 px beside values that differ by 8.
    torch.testing.assert_close(pooled, expected, rtol=0, atol=5e-5)
    weights = torch.randn_like(expected)
    expected = torch.autograd.grad(expected, features, weights)[0]
    actual = torch.autograd.grad(pooled, features, weights)[0]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_half_precision_maps_give_horizontal_regions_in_float32(pyramid):
    rois = odd_horizontal_rois()
    halves = [level.bfloat16() for level in pyramid]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = multilevel_roi_align(halves, rois, 7, STRIDES)
    assert pooled.dtype == torch.float32
    expected = multilevel_roi_align([level.float() for level in halves], rois, 7, STRIDES)
    assert torch.equal(pooled, expected)


def test_maps_beyond_the_strides_are_not_read(pyramid):
    """The pyramid has one map more than regions are pooled from."""
    rois = odd_horizontal_rois()
    expected = multilevel_roi_align(pyramid[:3], rois, 7, STRIDES[:3])
    assert torch.equal(multilevel_roi_align(pyramid, rois, 7, STRIDES[:3]), expected)


@pytest.mark.parametrize(
    ("pool", "width"), [(multilevel_roi_align, 5), (multilevel_rotated_roi_align, 6)]
)
def test_no_rois_are_connected_to_every_level(pyramid, pool, width):
    for level in pyramid:
        level.requires_grad_()
    pooled = pool(pyramid, torch.zeros(0, width), 7, STRIDES)
    assert pooled.shape == (0, 4, 7, 7)
    pooled.sum().backward()
    assert all(level.grad is not None for level in pyramid)
