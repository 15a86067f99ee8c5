"""Full attention with decomposed relative positions on a GPU, in four ways.

strips   what the network does: the bias of a strip of query rows at a time
whole    the whole bias at once
folded   no bias: its two parts are further channels of queries and keys, so that the fused kernels
         without a mask can be used; the values are filled up with zeros to the same width
flex     `flex_attention`, compiled, which adds both parts inside its kernel

The four give the same result. Shapes are those of a block of ViT-B in bfloat16.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention.flex_attention import flex_attention

from benchmarks.dcnv3 import PASSES
from benchmarks.gpu import peak_memory, take_turns_on_gpu
from benchmarks.report import NotHereError, Row
from benchmarks.timing import Side, use_threads
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES, ViTRVSAConfig
from mtp_hf.modeling.modeling_vit_rvsa import FullAttention
from mtp_hf.modeling.ops_position_tables import relative_position_terms

THREADS = 2
PATCH = 16
BATCHES = {224: 32, 448: 8, 1024: 2}  # images at once, by image size
WIDTH_STEP = 8  # fused kernels want heads of a multiple of this

Heads = tuple[Tensor, Tensor, Tensor]  # query, key and value (B, M, N, D)
Way = Callable[[FullAttention, Heads, int], Tensor]  # and the side of the grid -> (B, N, M, D)


def run(quick: bool) -> list[Row]:
    """Compare the ways at each size, forward and with gradients."""
    if not torch.cuda.is_available():
        raise NotHereError("no GPU")
    rows = []
    with use_threads(THREADS):
        for size, batch in ({112: 2} if quick else BATCHES).items():
            attention, heads = random_heads(size // PATCH, batch, "cuda", torch.bfloat16)
            rows += [_row(attention, heads, size, name, quick) for name in PASSES]
    return rows


def random_heads(
    side: int, batch: int, device: str, kind: torch.dtype
) -> tuple[FullAttention, Heads]:
    """Make a block's attention with random tables, and what it mixes."""
    torch.manual_seed(0)
    config = ViTRVSAConfig(**VIT_RVSA_SIZES["base"] | {"image_size": side * PATCH})
    config._attn_implementation = "sdpa"
    attention = FullAttention(config)
    for table in (attention.rel_pos_h, attention.rel_pos_w):
        torch.nn.init.normal_(table, std=0.2)
    shape = (batch, attention.num_heads, side * side, attention.head_size)
    query, key, value = (torch.randn(shape).to(device, kind).requires_grad_() for _ in range(3))
    return attention.to(device, kind), (query, key, value)


def attend_in_strips(attention: FullAttention, heads: Heads, side: int) -> Tensor:
    """Attend as the network does."""
    return attention.attend_by_strips(*heads, (side, side))[0]


def attend_with_whole_bias(attention: FullAttention, heads: Heads, side: int) -> Tensor:
    """Write the bias (B, M, N, N) out."""
    query, key, value = heads
    by_row, by_column = _terms(attention, query, side)  # (B, M, N, H), (B, M, N, W)
    bias = (by_row.unsqueeze(-1) + by_column.unsqueeze(-2)).flatten(-2)
    mixed = F.scaled_dot_product_attention(query, key, value, bias, scale=attention.scaling)
    return mixed.transpose(1, 2)


def attend_with_folded_bias(attention: FullAttention, heads: Heads, side: int) -> Tensor:
    """Let every key name its row and column, and every query bring what it adds there."""
    query, key, value = heads
    query = torch.cat((query * attention.scaling, *_terms(attention, query, side)), -1)
    place = torch.eye(side, device=key.device, dtype=key.dtype)
    names = torch.cat((place.repeat_interleave(side, 0), place.repeat(side, 1)), -1)  # (N, H + W)
    key = torch.cat((key, names.expand(*key.shape[:2], -1, -1)), -1)
    width = -(-key.shape[-1] // WIDTH_STEP) * WIDTH_STEP
    query, key, filled = (F.pad(x, (0, width - x.shape[-1])) for x in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, filled, scale=1.0)
    return mixed[..., : value.shape[-1]].transpose(1, 2)


def attend_by_flex(attention: FullAttention, heads: Heads, side: int) -> Tensor:
    """Add the two parts to each logit where it is computed."""
    query, key, value = heads
    by_row, by_column = _terms(attention, query, side)

    def add_positions(logit: Tensor, image: Tensor, head: Tensor, of: Tensor, to: Tensor) -> Tensor:
        added = by_row[image, head, of, to // side] + by_column[image, head, of, to % side]
        return logit + added

    mixed = flex_attention(query, key, value, add_positions, scale=attention.scaling)
    assert isinstance(mixed, Tensor)
    return mixed.transpose(1, 2)


WAYS: dict[str, Way] = {
    "strips": attend_in_strips,
    "whole": attend_with_whole_bias,
    "folded": attend_with_folded_bias,
    "flex": attend_by_flex,
}


def _terms(attention: FullAttention, query: Tensor, side: int) -> tuple[Tensor, ...]:
    """Return what rows and columns of keys add to the logits, (B, M, N, H) and (B, M, N, W)."""
    scaled = (query * attention.scaling).reshape(-1, side, side, attention.head_size)
    terms = relative_position_terms(scaled, attention.rel_pos_h, attention.rel_pos_w)
    return tuple(term.reshape(*query.shape[:3], side) for term in terms)


def _row(attention: FullAttention, heads: Heads, size: int, name: str, quick: bool) -> Row:
    """Tell how much faster than strips the best way is."""
    side = size // PATCH
    ways = WAYS | {"flex": torch.compile(attend_by_flex, dynamic=False)}
    sides = {way: pass_of(how, attention, heads, side, name=name) for way, how in ways.items()}
    seconds = take_turns_on_gpu(sides, quick)
    best = min(sides, key=seconds.median)
    memory = ", ".join(f"{way} {peak_memory(run_pass):,.0f}" for way, run_pass in sides.items())
    return Row(
        case=f"{name}, {len(heads[0])} x {size} px, best: {best}",
        value=seconds.ratio("strips", best),
        unit="x faster than strips",
        note=f"{seconds.note(*sides)}; MiB: {memory}",
    )


def pass_of(way: Way, attention: FullAttention, heads: Heads, side: int, *, name: str) -> Side:
    """Return a pass of a way, by its name in `PASSES`."""

    def run_forward() -> None:
        with torch.no_grad():
            way(attention, heads, side)

    def run_both() -> None:
        mixed = way(attention, heads, side)
        learned = (*heads, attention.rel_pos_h, attention.rel_pos_w)
        torch.autograd.grad(mixed, learned, torch.ones_like(mixed))

    return run_forward if name == PASSES[0] else run_both
