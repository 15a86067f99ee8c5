"""Weighted sums of map positions and their gradient."""

import pytest
import torch

from mtp_hf.modeling import ops_weighted_positions
from mtp_hf.modeling.ops_weighted_positions import Terms, first_positions, sum_positions


def random_maps(channels=6):
    return [torch.randn(2, channels, side, side + 1, requires_grad=True) for side in (7, 4, 2)]


def random_terms(maps, num_sums, at_most=5):
    """Bags of 0 to `at_most` terms."""
    counts = torch.randint(at_most + 1, (num_sums,))
    starts = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    positions = torch.randint(first_positions(maps)[-1], (int(starts[-1]),))
    return Terms(positions.int(), torch.randn(len(positions)), starts.int())


def summed_one_by_one(maps, terms, sums_per_roi):
    rows = torch.cat([m.permute(0, 2, 3, 1).flatten(0, 2) for m in maps])
    sums = [
        (terms.weights[first:last, None] * rows[terms.positions[first:last].long()]).sum(0)
        for first, last in zip(terms.starts[:-1].tolist(), terms.starts[1:].tolist(), strict=True)
    ]
    return torch.stack(sums).unflatten(0, (-1, sums_per_roi)).mT


def test_positions_count_through_images_rows_and_maps():
    maps = [torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 2, 3)]
    assert first_positions(maps) == [0, 40, 52]


def test_a_sum_of_two_positions_of_two_maps():
    maps = [torch.arange(8.0).view(1, 2, 2, 2), torch.tensor([[[[10.0]], [[20.0]]]])]
    terms = Terms(
        torch.tensor([3, 4], dtype=torch.int32),  # last pixel of the first map; the second map
        torch.tensor([2.0, 0.5]),
        torch.tensor([0, 2], dtype=torch.int32),
    )
    assert sum_positions(maps, terms, 1).tolist() == [[[2 * 3 + 5.0], [2 * 7 + 10.0]]]


def test_sums_are_those_of_a_loop():
    maps = random_maps()
    terms = random_terms(maps, 40)
    expected = summed_one_by_one(maps, terms, 4)
    actual = sum_positions(maps, terms, 4)
    assert actual.shape == (10, 6, 4)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_gradients_are_those_of_a_loop():
    maps = random_maps()
    terms = random_terms(maps, 40)
    weights = torch.randn(10, 6, 4)
    expected = torch.autograd.grad((summed_one_by_one(maps, terms, 4) * weights).sum(), maps)
    actual = torch.autograd.grad((sum_positions(maps, terms, 4) * weights).sum(), maps)
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_a_gradient_that_is_not_contiguous_is_read_right():
    maps = random_maps()
    terms = random_terms(maps, 40)
    weights = torch.randn(4, 6, 10).transpose(0, 2)
    sums = sum_positions(maps, terms, 4)
    actual = torch.autograd.grad(sums, maps, weights, retain_graph=True)
    expected = torch.autograd.grad(sums, maps, weights.contiguous())
    assert all(torch.equal(a, e) for a, e in zip(actual, expected, strict=True))


def test_runs_of_channels_do_not_change_result_or_gradient(monkeypatch):
    maps = random_maps(channels=70)
    terms = random_terms(maps, 60)
    whole = sum_positions(maps, terms, 6)
    expected = torch.autograd.grad(whole.sin().sum(), maps)
    monkeypatch.setattr(ops_weighted_positions, "MAX_COPY", 1)
    parts = sum_positions(maps, terms, 6)
    actual = torch.autograd.grad(parts.sin().sum(), maps)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("num_rois", [0, 3])
def test_sums_without_terms_are_zero_and_connected_to_every_map(num_rois):
    maps = random_maps()
    empty = torch.zeros(0, dtype=torch.int32)
    terms = Terms(empty, torch.zeros(0), torch.zeros(4 * num_rois + 1, dtype=torch.int32))
    sums = sum_positions(maps, terms, 4)
    assert sums.shape == (num_rois, 6, 4) and not sums.any()
    grads = torch.autograd.grad(sums.sum(), maps)
    assert [g.shape for g in grads] == [m.shape for m in maps]
    assert not any(g.any() for g in grads)
