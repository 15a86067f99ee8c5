"""The backbone with its pyramid against timm's plain ViT/16 of the same size and input; in bf16.

The plain ViT attends globally in all its blocks and has a classifier; it makes no maps.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.report import Row, has_bf16_instructions
from benchmarks.timing import Side, plain_vit, take_turns, use_threads
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES, ViTRVSAConfig
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone

THREADS = 2
# Largest ratio of the time of the plain ViT, by image size.
FORWARD_TARGETS = {224: 1.22, 448: 1.12}
BACKWARD_TARGETS = {448: 1.15}
BF16_SPEEDUP = 2.0
# ViT-L at its native size.
LARGE_SIZE, LARGE_FORWARD_TARGET, LARGE_ROUNDS = 448, 1.15, 5
ROUNDS = {224: 25, 448: 15}


def run(quick: bool) -> list[Row]:
    """Measure forward, forward + backward, bf16 and the forward of ViT-L, one image at a time."""
    rows: list[Row] = []
    with use_threads(THREADS):
        for size in (112,) if quick else FORWARD_TARGETS:
            rows += _against_plain_vit(size, quick)
        rows.append(_bf16(112 if quick else 448, quick))
        rows.append(_large_against_plain_vit(112 if quick else LARGE_SIZE, quick))
    return rows


def make_backbone(image_size: int, *, quick: bool, size_name: str = "base") -> ViTRVSABackbone:
    """Make ViT + RVSA of a published size with random weights, a tiny one if quick."""
    size = VIT_RVSA_SIZES["tiny" if quick else size_name]
    return ViTRVSABackbone(ViTRVSAConfig(**(size | {"image_size": image_size})))


def sum_of_maps(backbone: ViTRVSABackbone, image: Tensor) -> Tensor:
    """A loss that needs every map."""
    return torch.stack([x.sum() for x in backbone(image).feature_maps]).sum()


def forward(model: nn.Module, image: Tensor) -> Side:
    """Return a forward pass without gradient."""

    def side() -> None:
        with torch.no_grad():
            model(image)

    return side


def forward_backward(loss: Callable[[], Tensor], model: nn.Module) -> Side:
    """Return a forward and backward pass; gradients are made anew each time."""

    def side() -> None:
        model.zero_grad()
        loss().backward()

    return side


def _against_plain_vit(size: int, quick: bool) -> list[Row]:
    backbone, plain = make_backbone(size, quick=quick), plain_vit(size, quick=quick)
    image = torch.randn(1, 3, size, size)
    rounds = 2 if quick else ROUNDS[size]
    cases = {
        "forward": (
            {"ours": forward(backbone.eval(), image), "plain": forward(plain.eval(), image)},
            FORWARD_TARGETS.get(size),
        ),
        "forward + backward": (
            {
                "ours": forward_backward(lambda: sum_of_maps(backbone, image), backbone),
                "plain": forward_backward(lambda: plain(image).sum(), plain),
            },
            BACKWARD_TARGETS.get(size),
        ),
    }
    rows = []
    for case, (sides, target) in cases.items():
        seconds = take_turns(sides, rounds)
        rows.append(
            Row(
                case=f"{case}, {size} px",
                value=seconds.ratio("ours", "plain"),
                unit="x",
                at_most=target,
                note=seconds.note("ours", "plain"),
            )
        )
    return rows


def _large_against_plain_vit(size: int, quick: bool) -> Row:
    backbone = make_backbone(size, quick=quick, size_name="large").eval()
    plain = plain_vit(size, quick=quick, name="vit_large_patch16_224").eval()
    image = torch.randn(1, 3, size, size)
    sides = {"ours": forward(backbone, image), "plain": forward(plain, image)}
    seconds = take_turns(sides, 2 if quick else LARGE_ROUNDS)
    return Row(
        case=f"forward, {size} px, ViT-L",
        value=seconds.ratio("ours", "plain"),
        unit="x",
        at_most=LARGE_FORWARD_TARGET,
        note=seconds.note("ours", "plain"),
    )


def _bf16(size: int, quick: bool) -> Row:
    case = f"forward, {size} px, bf16 against fp32"
    if not has_bf16_instructions():
        return Row(case=case, value=None, unit="x", note="this CPU has no bf16 instructions")
    single = make_backbone(size, quick=quick).eval()
    half = make_backbone(size, quick=quick).eval().to(torch.bfloat16)
    image = torch.randn(1, 3, size, size)
    seconds = take_turns(
        {"fp32": forward(single, image), "bf16": forward(half, image)}, 2 if quick else ROUNDS[size]
    )
    return Row(
        case=case,
        value=seconds.ratio("fp32", "bf16"),
        unit="x faster",
        at_least=BF16_SPEEDUP,
        note=seconds.note("fp32", "bf16"),
    )
