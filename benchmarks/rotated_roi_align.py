"""Pooling of rotated regions from one map, forward and backward, in V."""

import torch

from benchmarks.report import Row
from benchmarks.rotated_nms import random_rotated_boxes
from benchmarks.timing import forward_of_plain_vit, take_turns, use_threads
from mtp_hf.modeling.ops_roi_align import rotated_roi_align

THREADS = 2
STRIDE = 4
FORWARD_TARGET = 0.4
BOTH_TARGET = 1.0


def run(quick: bool) -> list[Row]:
    """Measure 512 regions of a 256 x 256 map with 256 channels, 7 x 7 bins."""
    count, side, channels = (8, 16, 4) if quick else (512, 256, 256)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, channels, side, side, generator=generator, requires_grad=True)
    boxes = random_rotated_boxes(count, side * STRIDE, generator)
    rois = torch.cat((torch.zeros(count, 1), boxes), dim=1)
    gradient = torch.randn(count, channels, 7, 7, generator=generator)

    def forward() -> None:
        with torch.no_grad():
            rotated_roi_align(features, rois, 7, 1 / STRIDE)

    def forward_backward() -> None:
        features.grad = None
        rotated_roi_align(features, rois, 7, 1 / STRIDE).backward(gradient)

    sides = {
        "V": forward_of_plain_vit(quick=quick),
        "forward": forward,
        "forward + backward": forward_backward,
    }
    with use_threads(THREADS):
        seconds = take_turns(sides, 2 if quick else 15)
    shape = f"{count} RoIs, {channels} x {side} x {side} map, 7 x 7"
    return [
        Row(
            case=f"{name}, {shape}",
            value=seconds.ratio(name, "V"),
            unit="V",
            at_most=target,
            note=seconds.note(name, "V"),
        )
        for name, target in (("forward", FORWARD_TARGET), ("forward + backward", BOTH_TARGET))
    ]
