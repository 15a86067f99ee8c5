r"""Rotated boxes: the angle convention, conversions, geometry, IoU and non-maximum suppression.

`rotated_boxes` are (cx, cy, w, h, angle), pixels and radians. A positive angle turns the box
CLOCKWISE on the screen (x to the right, y down), and `le90` is the one form stored anywhere: w >= h
and -pi/2 <= angle < pi/2, so the angle is that of the long side::

    +--------------------> x      angle = +30 degrees: the long side falls to the right
    |
    |   3 ` .                     corners, in this order:
    |  /      ` .                     1 = centre + u + v    u = w/2 * ( cos angle, sin angle)
    | 4           ` 2                 2 = centre + u - v    v = h/2 * (-sin angle, cos angle)
    |   ` .        /                  3 = centre - u - v
    |       ` .   /                   4 = centre - u + v
    v           ` 1
    y

`polygons` are four corners x1, y1, ..., x4, y4. Letters: N and M boxes, P pairs of boxes.

Differs: the IoU is not `torchvision.ops.box_iou(fmt="cxcywhr")`. That kernel (like the original's)
loses corners when two boxes nearly coincide: it can return 0.33 for a box and its copy turned by
180 degrees, so duplicates survive. It also knows whole (N, M) matrices only, which is slow.

Source: le90 of mmrotate 1.0, `RotatedBoxes`; suppression as mmcv's `nms_rotated`.
"""

import math

import torch

from .ops_box_pairs import MAX_PAIRS, boxes_touch, touching_pairs

HALF_PI = math.pi / 2
MIN_SIDE = 1e-3  # Sides below this count as this in IoU, as in mmrotate.


def wrap_angle(angle: torch.Tensor) -> torch.Tensor:
    """Take angles modulo pi into [-pi/2, pi/2).

    Args:
        angle: (...) radians.

    Returns:
        (...) radians.
    """
    wrapped = torch.remainder(angle + HALF_PI, math.pi) - HALF_PI
    # The remainder of a tiny negative number rounds to pi itself.
    return torch.where(wrapped >= HALF_PI, wrapped - math.pi, wrapped)


def regularize_rotated_boxes(rotated_boxes: torch.Tensor) -> torch.Tensor:
    """Bring boxes to le90 without moving them.

    Args:
        rotated_boxes: (N, 5), sides in either order, any angle.

    Returns:
        (N, 5) with w >= h and angle in [-pi/2, pi/2).
    """
    cx, cy, w, h, angle = rotated_boxes.float().unbind(-1)
    angle = wrap_angle(torch.where(w >= h, angle, angle + HALF_PI))
    return torch.stack((cx, cy, torch.maximum(w, h), torch.minimum(w, h), angle), dim=-1)


def rotated_boxes_to_polygons(rotated_boxes: torch.Tensor) -> torch.Tensor:
    """Give the four corners in the order of the module's drawing.

    Args:
        rotated_boxes: (N, 5).

    Returns:
        (N, 8) polygons.
    """
    return _corners(rotated_boxes.float()).flatten(-2)


def polygons_to_rotated_boxes(polygons: torch.Tensor) -> torch.Tensor:
    """Fit the rectangle of least area around four points each, as le90.

    One side of that rectangle lies along an edge of the convex hull, and every hull edge of four
    points is among their six connecting lines, so six directions are tried. Any corner order,
    repeated and collinear points are fine.

    Args:
        polygons: (N, 8), not necessarily rectangles.

    Returns:
        (N, 5) rotated boxes.
    """
    points = polygons.float().unflatten(-1, (4, 2))  # (N, 8) -> (N, 4, 2)
    middle = points.mean(-2)
    x, y = (points - middle[..., None, :]).unbind(-1)  # (N, 4)
    first, second = torch.triu_indices(4, 4, offset=1, device=points.device)
    angles = torch.atan2(y[..., second] - y[..., first], x[..., second] - x[..., first])  # (N, 6)
    cos, sin = angles.cos()[..., None], angles.sin()[..., None]
    along = x[..., None, :] * cos + y[..., None, :] * sin  # (N, 6, 4) in the axes of each line
    across = y[..., None, :] * cos - x[..., None, :] * sin
    u_low, u_high, v_low, v_high = along.amin(-1), along.amax(-1), across.amin(-1), across.amax(-1)
    w, h = u_high - u_low, v_high - v_low  # (N, 6)
    fits = torch.stack(((u_low + u_high) / 2, (v_low + v_high) / 2, w, h, angles), dim=-1)
    best = (w * h).argmin(-1)[..., None, None].expand(*fits.shape[:-2], 1, 5)
    u, v, w, h, angle = fits.gather(-2, best).squeeze(-2).unbind(-1)  # (N,)
    cx = middle[..., 0] + u * angle.cos() - v * angle.sin()
    cy = middle[..., 1] + u * angle.sin() + v * angle.cos()
    return regularize_rotated_boxes(torch.stack((cx, cy, w, h, angle), dim=-1))


def rotated_boxes_to_boxes(rotated_boxes: torch.Tensor) -> torch.Tensor:
    """Give the horizontal hull of each box.

    Args:
        rotated_boxes: (N, 5).

    Returns:
        (N, 4) x1, y1, x2, y2; not clipped.
    """
    center, w, h, angle = rotated_boxes.float().split((2, 1, 1, 1), dim=-1)
    cos, sin = angle.cos().abs(), angle.sin().abs()
    half = torch.cat((w * cos + h * sin, w * sin + h * cos), dim=-1) / 2
    return torch.cat((center - half, center + half), dim=-1)


def boxes_to_rotated_boxes(boxes: torch.Tensor) -> torch.Tensor:
    """Write horizontal boxes as rotated ones (le90: a tall box gets -pi/2).

    Args:
        boxes: (N, 4).

    Returns:
        (N, 5) rotated boxes.
    """
    low, high = boxes.float().split(2, dim=-1)
    angle = torch.zeros_like(low[..., :1])
    return regularize_rotated_boxes(torch.cat(((low + high) / 2, high - low, angle), dim=-1))


def translate_rotated_boxes(rotated_boxes: torch.Tensor, dx: float, dy: float) -> torch.Tensor:
    """Shift boxes by (dx, dy) pixels.

    Args:
        rotated_boxes: (N, 5).
        dx: pixels to the right.
        dy: pixels down.

    Returns:
        (N, 5).
    """
    boxes = rotated_boxes.float()
    return boxes + boxes.new_tensor((dx, dy, 0.0, 0.0, 0.0))


def flip_rotated_boxes(
    rotated_boxes: torch.Tensor, size: tuple[int, int], direction: str
) -> torch.Tensor:
    """Mirror boxes with their image; the angle stays in [-pi/2, pi/2).

    Args:
        rotated_boxes: (N, 5).
        size: image height and width.
        direction: `horizontal` (left-right), `vertical` or `diagonal` (both).

    Returns:
        (N, 5).

    Raises:
        ValueError: for another direction.
    """
    if direction not in ("horizontal", "vertical", "diagonal"):
        raise ValueError(f"direction must be horizontal, vertical or diagonal, got {direction!r}")
    height, width = size
    cx, cy, w, h, angle = rotated_boxes.float().unbind(-1)
    if direction != "vertical":
        cx, angle = width - cx, -angle
    if direction != "horizontal":
        cy, angle = height - cy, -angle
    return torch.stack((cx, cy, w, h, wrap_angle(angle)), dim=-1)


def rotate_rotated_boxes(
    rotated_boxes: torch.Tensor, angle: float, center: tuple[float, float]
) -> torch.Tensor:
    """Turn boxes clockwise around a point.

    Args:
        rotated_boxes: (N, 5).
        angle: radians, clockwise on the screen.
        center: x and y of the fixed point, pixels.

    Returns:
        (N, 5).
    """
    cx, cy, w, h, old_angle = rotated_boxes.float().unbind(-1)
    cos, sin = math.cos(angle), math.sin(angle)
    dx, dy = cx - center[0], cy - center[1]
    cx, cy = center[0] + cos * dx - sin * dy, center[1] + sin * dx + cos * dy
    return torch.stack((cx, cy, w, h, wrap_angle(old_angle + angle)), dim=-1)


def rescale_rotated_boxes(
    rotated_boxes: torch.Tensor, size: tuple[int, int], target_size: tuple[int, int]
) -> torch.Tensor:
    """Move boxes from an image of `size` to the same image resized to `target_size`.

    Under unequal scales a rectangle becomes a parallelogram; the result has its centre, the lengths
    of its two sides and the direction of its first side.
    Differs: mmrotate swaps the scales in the angle (atan2(sx sin, sy cos)), which turns boxes the
    wrong way; with equal scales both are the same.

    Args:
        rotated_boxes: (N, 5) pixels of `size`.
        size: height and width the boxes are in.
        target_size: height and width the result is in.

    Returns:
        (N, 5), le90, in pixels of `target_size`.
    """
    scale_y, scale_x = target_size[0] / size[0], target_size[1] / size[1]
    cx, cy, w, h, angle = rotated_boxes.float().unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    w = w * torch.hypot(scale_x * cos, scale_y * sin)
    h = h * torch.hypot(scale_x * sin, scale_y * cos)
    angle = torch.atan2(scale_y * sin, scale_x * cos)
    return regularize_rotated_boxes(torch.stack((cx * scale_x, cy * scale_y, w, h, angle), dim=-1))


@torch.no_grad()
def rotated_box_iou(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """Compute the IoU of all pairs; only pairs whose hulls overlap cost anything.

    Args:
        boxes1: (N, 5).
        boxes2: (M, 5).

    Returns:
        (N, M) float32 without gradient.
    """
    boxes1, boxes2 = _clamp_sides(boxes1), _clamp_sides(boxes2)
    iou = boxes1.new_zeros(len(boxes1), len(boxes2))
    hulls1, hulls2 = rotated_boxes_to_boxes(boxes1), rotated_boxes_to_boxes(boxes2)
    rows = max(1, MAX_PAIRS // max(1, len(boxes2)))
    for start in range(0, len(boxes1), rows):
        near = boxes_touch(hulls1[start : start + rows, None], hulls2)  # (rows, M)
        index1, index2 = near.nonzero().unbind(1)
        index1 = index1 + start
        iou[index1, index2] = _pair_iou(boxes1[index1], boxes2[index2])
    return iou


def rotated_nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Drop greedily the boxes that overlap a kept box of higher score by more than the threshold.

    Args:
        boxes: (N, 5).
        scores: (N,); equal scores keep their order.
        iou_threshold: overlap that is still allowed.

    Returns:
        int64 indices of the kept boxes, best score first.
    """
    return batched_rotated_nms(boxes, scores, scores.new_zeros(len(scores)).long(), iou_threshold)


@torch.no_grad()
def batched_rotated_nms(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    """Suppress as `rotated_nms`, inside each class only.

    Args:
        boxes: (N, 5).
        scores: (N,).
        labels: (N,) int64.
        iou_threshold: overlap that is still allowed.

    Returns:
        int64 indices of the kept boxes of all classes, best score first.
    """
    order = scores.float().argsort(descending=True, stable=True)
    boxes = _clamp_sides(boxes)[order]
    pairs = [
        pair[:, _pair_iou(boxes[pair[0]], boxes[pair[1]]) > iou_threshold]
        for pair in touching_pairs(rotated_boxes_to_boxes(boxes), labels[order])
    ]
    winners, losers = torch.cat(pairs, dim=1)
    keep = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    while True:
        # A box at depth k of the chains of overlaps has its final state after k rounds.
        suppressed = losers[keep[winners]]
        new_keep = torch.ones_like(keep).index_fill_(0, suppressed, False)
        if torch.equal(new_keep, keep):
            return order[keep]
        keep = new_keep


def _corners(rotated_boxes: torch.Tensor) -> torch.Tensor:
    """Corners (N, 4, 2) of boxes (N, 5), in the order of the module's drawing."""
    center, w, h, angle = rotated_boxes.split((2, 1, 1, 1), dim=-1)
    cos, sin = angle.cos(), angle.sin()
    u = torch.cat((cos, sin), dim=-1) * w / 2
    v = torch.cat((-sin, cos), dim=-1) * h / 2
    return torch.stack((center + u + v, center + u - v, center - u - v, center - u + v), dim=-2)


def _clamp_sides(rotated_boxes: torch.Tensor) -> torch.Tensor:
    """Give degenerate boxes a small area, so that no IoU is 0 / 0."""
    center, sides, angle = rotated_boxes.detach().float().split((2, 2, 1), dim=-1)
    return torch.cat((center, sides.clamp(min=MIN_SIDE), angle), dim=-1)


def _pair_iou(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """IoU of P pairs (P, 5) x (P, 5) -> (P,).

    In the frame of the first box the intersection is the second polygon cut by the upright
    rectangle |x| <= w/2, |y| <= h/2. Its area is the sum over the polygon's edges of the signed
    integral of clamp(y(x), -h/2, h/2) dx over |x| <= w/2. Nothing is decided by comparing
    corners with sides, so coinciding sides do no harm.
    """
    half_w, half_h = boxes1[:, None, 2] / 2, boxes1[:, None, 3] / 2  # (P, 1)
    angle = boxes1[:, None, 4]
    local = boxes2.clone()
    local[:, :2] -= boxes1[:, :2]  # differences first: full precision far from the origin
    points = _corners(local)  # (P, 4, 2)
    x = points[..., 0] * angle.cos() + points[..., 1] * angle.sin()  # (P, 4)
    y = points[..., 1] * angle.cos() - points[..., 0] * angle.sin()
    dx, dy = x.roll(-1, 1) - x, y.roll(-1, 1) - y
    # The part of each edge between the left and the right side: t in [start, end] of the edge.
    tiny = torch.finfo(x.dtype).tiny
    safe_dx = torch.where(dx == 0, tiny, dx)
    left, right = (-half_w - x) / safe_dx, (half_w - x) / safe_dx
    start = torch.minimum(left, right).clamp(0, 1)
    end = torch.maximum(left, right).clamp(0, 1)
    # Where the edge crosses the lower and the upper side: the integrand is linear between these.
    safe_dy = torch.where(dy == 0, tiny, dy)
    bottom, top = (-half_h - y) / safe_dy, (half_h - y) / safe_dy
    enter = torch.minimum(bottom, top).clamp(start, end)
    leave = torch.maximum(bottom, top).clamp(start, end)
    knots = torch.stack((start, enter, leave, end), dim=-1)  # (P, 4, 4)
    heights = (y[..., None] + knots * dy[..., None]).clamp(-half_h[..., None], half_h[..., None])
    integral = torch.trapezoid(heights, knots, dim=-1) * dx  # (P, 4)
    intersection = integral.sum(-1).abs()
    union = boxes1[:, 2] * boxes1[:, 3] + boxes2[:, 2] * boxes2[:, 3] - intersection
    return (intersection / union).clamp(max=1)
