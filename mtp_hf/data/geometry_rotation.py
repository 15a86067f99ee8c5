"""Rotation of whole samples about the centre of the image: by any angle, or by quarter turns.

Angles are degrees, positive = clockwise on the screen. All functions return a new dict.

Differs: the original's operators turn pixels about ((w - 1) / 2, (h - 1) / 2) in pixel numbers,
which is the same point as (w / 2, h / 2) in coordinates where a pixel has an area; here both are
one computation.

Source: `Rotate` and `RandomRotFlip` of the original's pipelines (spec 3.3, 3.5, 7.9).
"""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mtp_hf.data.geometry import LABEL_MAPS, PICTURES, check_map_sizes, select_centered
from mtp_hf.data.masks import decode_map
from mtp_hf.data.schema import IGNORE_LABEL, RawSample


def rotate(sample: RawSample, angle_deg: float) -> RawSample:
    """Turn a sample by any angle; the canvas keeps its size.

    Pictures are interpolated bilinearly with black around them, label maps take the nearest pixel
    and 255 around. Rotated objects stay, never clipped, if their centre is still in the image.

    Raises:
        ValueError: The sample has horizontal boxes, which a rotation does not keep horizontal, or
            a label map of another size than the picture.
    """
    check_map_sizes(sample)
    turned = _without_boxes(sample)
    height, width = sample["image"].shape[1:]
    turns, rest = divmod(angle_deg, 90.0)
    if not rest and height == width:
        _turn_maps(turned, int(turns))
    else:
        # Sines of quarter turns are off by 1e-16, which would blend pixels at the border.
        cos, sin = (round(f(math.radians(angle_deg)), 15) for f in (math.cos, math.sin))
        grid = _source_grid(cos, sin, (height, width))
        for key in PICTURES:
            if key in turned:
                turned[key] = _sample_at(turned[key], grid, "bilinear", 0)
        for key in LABEL_MAPS:
            if key in turned:
                turned[key] = _sample_at(turned[key][None], grid, "nearest", IGNORE_LABEL)[0]
    if "polygons" in turned:
        turned["polygons"] = _turn_points(turned["polygons"], angle_deg, (height, width))
    return select_centered(cast(RawSample, turned))


def turn_quarters(sample: RawSample, turns: int) -> RawSample:
    """Turn pictures and label maps by `turns` times 90 degrees; the sides may change places.

    Raises:
        ValueError: The sample has boxes or polygons, which are not turned here.
    """
    turned = _without_boxes(sample)
    if "polygons" in turned:
        raise ValueError("quarter turns are for pictures and label maps, the sample has polygons")
    _turn_maps(turned, turns)
    return cast(RawSample, turned)


def _without_boxes(sample: RawSample) -> dict[str, Any]:
    """Copy a sample without horizontal boxes, its label maps decoded."""
    if "boxes" in sample:
        raise ValueError("a sample with horizontal boxes or masks cannot be rotated")
    copied: dict[str, Any] = {**sample}
    for key in LABEL_MAPS:
        if key in copied:
            copied[key] = decode_map(copied[key])
    return copied


def _turn_maps(sample: dict[str, Any], turns: int) -> None:
    """Turn everything with pixels by quarters, in place."""
    for key in PICTURES + LABEL_MAPS:
        if key in sample:
            sample[key] = sample[key].rot90(-turns, dims=(-2, -1))


def _source_grid(cos: float, sin: float, size: tuple[int, int]) -> Tensor:
    """Place in the source of each pixel of the turned image: (1, H, W, 2), from -1 to 1."""
    height, width = size
    # The inverse rotation in pixels, between coordinates that are divided by half the sides.
    matrix = [[cos, sin * height / width, 0.0], [-sin * width / height, cos, 0.0]]
    return F.affine_grid(torch.tensor([matrix]), [1, 1, height, width], align_corners=False)


def _sample_at(maps: Tensor, grid: Tensor, mode: str, fill: int) -> Tensor:
    """Read maps (C, H, W) at the places of the grid, `fill` outside; rounded to their dtype."""
    # The kernel is fastest on pixels that lie together, and knows no filling but zero.
    source = maps[None].float().contiguous(memory_format=torch.channels_last) - fill
    turned = F.grid_sample(source, grid, mode, padding_mode="zeros", align_corners=False)
    return turned.add_(fill).round_().to(maps.dtype)[0]


def _turn_points(polygons: Tensor, angle_deg: float, size: tuple[int, int]) -> Tensor:
    """Turn the corners of polygons (M, 8) about the centre of an image of (height, width)."""
    angle = math.radians(angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = torch.tensor([[cos, sin], [-sin, cos]])  # applied to rows (x, y)
    center = torch.tensor([size[1] / 2, size[0] / 2])
    corners = polygons.unflatten(1, (4, 2)) - center  # (M, 8) -> (M, 4, 2)
    return (corners @ matrix + center).flatten(1)
