import pytest
import torch
from torch.nn import functional as F

from mtp_hf.modeling.ops_windows import cut_windows, join_windows, sample_tokens, window_padding


@pytest.mark.parametrize(
    ("length", "expected"), [(14, (0, 0)), (16, (2, 3)), (24, (2, 2)), (32, (1, 2)), (50, (3, 3))]
)
def test_odd_padding_goes_after(length, expected):
    assert window_padding(length, 7) == expected


def test_windows_hold_the_right_tokens():
    x_map = torch.arange(16.0).view(1, 4, 4, 1)
    windows = cut_windows(x_map, 2)
    assert windows[0, 1, :, 0, :, 0].tolist() == [[8.0, 9.0], [12.0, 13.0]]


def test_padding_of_windows_is_zero():
    windows = cut_windows(torch.ones(1, 7, 8, 1), 7)  # one row, two columns of windows
    assert windows.shape == (1, 1, 7, 2, 7, 1)
    assert windows.sum() == 56 and windows[0, 0, :, 0, 2].sum() == 0


@pytest.mark.parametrize("grid", [(7, 7), (14, 21), (8, 13), (16, 9)])
def test_join_undoes_cut(grid):
    x = torch.randn(2, *grid, 5)
    windows = cut_windows(x, 7).transpose(2, 3).reshape(-1, 49, 5)
    torch.testing.assert_close(join_windows(windows, grid, 7), x.flatten(1, 2))


def test_sampling_between_four_tokens_takes_their_mean():
    tokens = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 2, 2, 1, 1)
    half = torch.full((1, 1, 1, 1), 0.5)
    assert sample_tokens(tokens, half, half).item() == 3.0


def test_sampling_half_outside_counts_zero():
    tokens = torch.full((1, 2, 2, 1, 1), 4.0)
    x, y = torch.tensor([-0.5, 1.25, 40.0]), torch.zeros(3)
    read = sample_tokens(tokens, x.view(1, 1, 1, 3), y.view(1, 1, 1, 3))
    assert read.flatten().tolist() == [2.0, 3.0, 0.0]


def _grid_sample(tokens, x, y):
    """The same through `grid_sample`, with a map per head."""
    batch, height, width, heads, channels = tokens.shape
    maps = tokens.permute(0, 3, 4, 1, 2).flatten(0, 1)
    points = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), -1)
    points = points.transpose(1, 2).flatten(0, 1)  # (B, P, M, n, 2) -> (BM, P, n, 2)
    read = F.grid_sample(maps, points, align_corners=True)  # (BM, E, P, n)
    return read.unflatten(0, (batch, heads)).permute(0, 3, 1, 4, 2)


def _random_places(seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(2, 5, 8, 3, 4, generator=generator)
    x = torch.rand(2, 6, 3, 9, generator=generator) * 12 - 2
    y = torch.rand(2, 6, 3, 9, generator=generator) * 9 - 2
    return [t.requires_grad_() for t in (tokens, x, y)]


@pytest.mark.parametrize("seed", range(3))
def test_sampling_equals_grid_sample(seed):
    tokens, x, y = _random_places(seed)
    expected = _grid_sample(tokens, x, y)
    torch.testing.assert_close(sample_tokens(tokens, x, y), expected, atol=1e-5, rtol=1e-5)


def test_sampling_has_the_gradients_of_grid_sample():
    inputs = _random_places(3)
    weight = torch.randn(2, 6, 3, 9, 4)
    gradients = torch.autograd.grad((sample_tokens(*inputs) * weight).sum(), inputs)
    expected = torch.autograd.grad((_grid_sample(*inputs) * weight).sum(), inputs)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, atol=2e-4, rtol=1e-4)


def test_sampling_interpolates_in_float32():
    tokens = torch.tensor([256.0, 258.0], dtype=torch.bfloat16).view(1, 1, 2, 1, 1)
    x = torch.tensor([0.01, 0.99]).view(1, 1, 1, 2)
    read = sample_tokens(tokens, x, torch.zeros_like(x))
    assert read.dtype == torch.bfloat16 and read.flatten().tolist() == [256.0, 258.0]
