"""Box coders: what the regression branches predict, and back.

Each coder is a stateless value: `encode` turns (reference, target) into deltas divided by `stds`
(all means are 0), `decode` inverts it. Rotated boxes follow the convention of `ops_rotated_boxes`.
Letters: N boxes, K classes.
Source: Faster R-CNN (arXiv 1506.01497), equation 2; Oriented R-CNN (arXiv 2108.05699), section 3.1,
for the midpoint offsets; matches mmdet's `DeltaXYWHBBoxCoder`, mmrotate's `MidpointOffsetCoder` and
`DeltaXYWHTRBBoxCoder(norm_factor=None, edge_swap=True, proj_xy=True)`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from .ops_boxes import clip_boxes
from .ops_rotated_boxes import regularize_rotated_boxes, rotated_boxes_to_polygons, wrap_angle

MAX_LOG_RATIO = abs(math.log(16 / 1000))  # Sides change by at most this log factor.
TIE_PX = 0.1  # Corners this close to the extreme one count as extreme too.


@dataclass(frozen=True)
class DeltaXYWHCoder:
    """Centre shift relative to the reference's sides and log ratio of sides, horizontal boxes."""

    stds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    num_deltas: ClassVar[int] = 4

    def encode(self, reference_boxes: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
        """Give the deltas from reference to target.

        Args:
            reference_boxes: (N, 4).
            gt_boxes: (N, 4).

        Returns:
            (N, 4) dx, dy, dw, dh.
        """
        reference_center, reference_sides = _center_and_sides(reference_boxes.float())
        center, sides = _center_and_sides(gt_boxes.float())
        shift = (center - reference_center) / reference_sides
        deltas = torch.cat((shift, (sides / reference_sides).log()), dim=-1)
        return deltas / deltas.new_tensor(self.stds)

    def decode(
        self,
        reference_boxes: torch.Tensor,
        deltas: torch.Tensor,
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """Apply deltas, of one box or of one per class.

        Args:
            reference_boxes: (N, 4).
            deltas: (N, 4) or (N, 4 * K).
            size: clip to this height and width when given.

        Returns:
            Boxes of the shape of `deltas`.
        """
        deltas = deltas.float().unflatten(-1, (-1, 4))  # (N, 4K) -> (N, K, 4)
        deltas = deltas * deltas.new_tensor(self.stds)
        center, sides = _center_and_sides(reference_boxes.float()[..., None, :])
        center = center + deltas[..., :2] * sides
        sides = sides * deltas[..., 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        boxes = torch.cat((center - sides / 2, center + sides / 2), dim=-1).flatten(-2)
        return boxes if size is None else clip_boxes(boxes, size)


@dataclass(frozen=True)
class MidpointOffsetCoder:
    """Hull of a rotated box against a horizontal anchor, and where the box touches the hull."""

    stds: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5)
    num_deltas: ClassVar[int] = 6

    def encode(self, reference_boxes: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
        """Give the deltas from horizontal reference to rotated target.

        Args:
            reference_boxes: (N, 4).
            gt_boxes: (N, 5) rotated.

        Returns:
            (N, 6) dx, dy, dw, dh, and the offsets of the topmost and the rightmost corner from the
            middle of the hull's top and right side, relative to that side.
        """
        points = rotated_boxes_to_polygons(gt_boxes).unflatten(-1, (4, 2))  # (N, 8) -> (N, 4, 2)
        x, y = points.unbind(-1)  # (N, 4)
        low, high = points.amin(-2), points.amax(-2)  # (N, 2)
        # With a side along the axes two corners are extreme; the larger coordinate wins.
        is_top = y - low[:, 1:] <= TIE_PX
        is_right = high[:, :1] - x <= TIE_PX
        x_top = x.masked_fill(~is_top, -torch.inf).amax(-1)
        y_right = y.masked_fill(~is_right, -torch.inf).amax(-1)
        center, sides = (low + high) / 2, high - low
        touch = (torch.stack((x_top, y_right), dim=-1) - center) / sides
        reference_center, reference_sides = _center_and_sides(reference_boxes.float())
        shift = (center - reference_center) / reference_sides
        deltas = torch.cat((shift, (sides / reference_sides).log(), touch), dim=-1)
        return deltas / deltas.new_tensor(self.stds)

    def decode(
        self,
        reference_boxes: torch.Tensor,
        deltas: torch.Tensor,
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """Apply deltas; the parallelogram they describe is stretched to a rectangle.

        Args:
            reference_boxes: (N, 4).
            deltas: (N, 6).
            size: accepted like in the other coders and not used: nothing is clipped.

        Returns:
            (N, 5) rotated boxes, le90.
        """
        deltas = deltas.float() * deltas.new_tensor(self.stds, dtype=torch.float)
        shift, log_ratio, touch = deltas.split(2, dim=-1)
        center, sides = _center_and_sides(reference_boxes.float())
        center = center + shift * sides
        sides = sides * log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        touch = touch.clamp(-0.5, 0.5) * sides
        # Half diagonals of the parallelogram: to the corner on the top and on the right side.
        to_top = torch.stack((touch[..., 0], -sides[..., 1] / 2), dim=-1)
        to_right = torch.stack((sides[..., 0] / 2, touch[..., 1]), dim=-1)
        lengths = torch.cat(
            (to_top.norm(dim=-1, keepdim=True), to_right.norm(dim=-1, keepdim=True)), -1
        )
        scales = lengths.amax(-1, keepdim=True) / lengths
        to_top, to_right = to_top * scales[..., :1], to_right * scales[..., 1:]
        w_side, h_side = (
            to_right - to_top,
            to_right + to_top,
        )  # perpendicular sides of the rectangle
        w, h = w_side.norm(dim=-1), h_side.norm(dim=-1)
        # The angle comes from the longer side: it is the better determined one.
        is_wide = (w >= h)[..., None]
        long_side = torch.where(is_wide, w_side, h_side)
        angle = torch.atan2(long_side[..., 1], long_side[..., 0])
        longer, shorter = torch.maximum(w, h), torch.minimum(w, h)
        boxes = torch.cat((center, torch.stack((longer, shorter, angle), dim=-1)), dim=-1)
        return regularize_rotated_boxes(boxes)


@dataclass(frozen=True)
class DeltaXYWHTCoder:
    """Rotated box against a rotated proposal, with the centre shift in the proposal's own axes."""

    stds: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2, 0.1)
    num_deltas: ClassVar[int] = 5

    def encode(self, reference_boxes: torch.Tensor, gt_boxes: torch.Tensor) -> torch.Tensor:
        """Give the deltas to the target, whose sides are swapped if that turns the box less.

        Args:
            reference_boxes: (N, 5).
            gt_boxes: (N, 5).

        Returns:
            (N, 5) dx, dy, dw, dh, dangle.
        """
        px, py, pw, ph, pt = reference_boxes.float().unbind(-1)
        gx, gy, gw, gh, gt = gt_boxes.float().unbind(-1)
        cos, sin = pt.cos(), pt.sin()
        dx = (cos * (gx - px) + sin * (gy - py)) / pw
        dy = (cos * (gy - py) - sin * (gx - px)) / ph
        turn = wrap_angle(gt - pt)
        swapped_turn = wrap_angle(gt - pt + math.pi / 2)
        keeps = turn.abs() < swapped_turn.abs()
        dw = (torch.where(keeps, gw, gh) / pw).log()
        dh = (torch.where(keeps, gh, gw) / ph).log()
        deltas = torch.stack((dx, dy, dw, dh, torch.where(keeps, turn, swapped_turn)), dim=-1)
        return deltas / deltas.new_tensor(self.stds)

    def decode(
        self,
        reference_boxes: torch.Tensor,
        deltas: torch.Tensor,
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """Apply deltas.

        Args:
            reference_boxes: (N, 5).
            deltas: (N, 5).
            size: keep centres inside [0, width - 1] x [0, height - 1] when given.

        Returns:
            (N, 5) rotated boxes, le90.
        """
        px, py, pw, ph, pt = reference_boxes.float().unbind(-1)
        deltas = deltas.float() * deltas.new_tensor(self.stds, dtype=torch.float)
        dx, dy, dw, dh, turn = deltas.unbind(-1)
        cos, sin = pt.cos(), pt.sin()
        cx = dx * pw * cos - dy * ph * sin + px
        cy = dx * pw * sin + dy * ph * cos + py
        if size is not None:
            cx, cy = cx.clamp(0, size[1] - 1), cy.clamp(0, size[0] - 1)
        w = pw * dw.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        h = ph * dh.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
        return regularize_rotated_boxes(torch.stack((cx, cy, w, h, pt + turn), dim=-1))


def _center_and_sides(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Split boxes (..., 4) into centres (..., 2) and (width, height) (..., 2)."""
    low, high = boxes.split(2, dim=-1)
    return (low + high) / 2, high - low
