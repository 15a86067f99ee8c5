"""The ways to add relative positions compute the same; they are compared where there is a GPU."""

import pytest
import torch

from benchmarks import gpu_attention
from benchmarks.dcnv3 import PASSES
from benchmarks.gpu_attention import WAYS, attend_in_strips, pass_of, random_heads, run
from benchmarks.report import NotHereError


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotHereError, match="no GPU"):
        run(quick=True)


@pytest.fixture(scope="module")
def case():
    return random_heads(7, 1, "cpu", torch.float32)


def mix(way, case):
    attention, heads = case
    mixed = way(attention, heads, 7)
    learned = (*heads, attention.rel_pos_h, attention.rel_pos_w)
    return mixed, *torch.autograd.grad(mixed.sin().sum(), learned)


@pytest.mark.parametrize("way", ["whole", "folded"])
def test_ways_have_the_results_and_gradients_of_the_network(way, case):
    expected = mix(attend_in_strips, case)
    assert expected[0].shape == (1, 49, 12, 64)
    torch.testing.assert_close(mix(WAYS[way], case), expected, atol=2e-4, rtol=1e-3)


@torch.no_grad()
def test_flex_has_the_results_of_the_network(case):
    attention, heads = case
    heads = tuple(x.detach() for x in heads)  # a processor computes no gradients of it
    expected = attend_in_strips(attention, heads, 7)
    mixed = WAYS["flex"](attention.requires_grad_(False), heads, 7)
    attention.requires_grad_()
    torch.testing.assert_close(mixed, expected, atol=2e-4, rtol=1e-3)


@pytest.mark.gpu
def test_on_a_gpu_all_ways_have_the_gradients_of_the_network():
    case = random_heads(7, 1, "cuda", torch.float32)
    expected = mix(attend_in_strips, case)
    for way in WAYS.values():
        torch.testing.assert_close(mix(way, case), expected, atol=2e-3, rtol=1e-2)


def test_the_tables_matter(case):
    attention, heads = case
    before = attend_in_strips(attention, heads, 7)
    with torch.no_grad():
        attention.rel_pos_w.neg_()
        assert (attend_in_strips(attention, heads, 7) - before).abs().max() > 0.01
        attention.rel_pos_w.neg_()


def test_only_the_second_pass_makes_gradients(monkeypatch, case):
    found = []
    grad = torch.autograd.grad
    monkeypatch.setattr(gpu_attention.torch.autograd, "grad", lambda *a: found.append(grad(*a)))
    pass_of(attend_in_strips, *case, 7, name=PASSES[0])()
    assert found == []
    pass_of(attend_in_strips, *case, 7, name=PASSES[1])()
    assert [g is not None for g in found[0]] == [True] * 5


@pytest.mark.gpu
def test_quick_rows_compare_all_ways_in_both_passes():
    rows = run(quick=True)
    assert [row.case.split(", best")[0] for row in rows] == [f"{n}, 2 x 112 px" for n in PASSES]
    assert all(way in row.note for row in rows for way in WAYS)
    assert all(row.value > 0 for row in rows)
