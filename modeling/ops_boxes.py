"""Horizontal boxes: clipping to the image and moving between image sizes.

`boxes` are x1, y1, x2, y2 in pixels with continuous corners: width = x2 - x1, no `+ 1`. IoU, areas
and non-maximum suppression of horizontal boxes are torchvision's and are called directly.
Letters: N boxes, K classes.
Source: MTP (arXiv 2403.13430), section 3, "Instance Segmentation"; box operators of mmdet 3.1.
"""

import torch


def clip_boxes(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Clip corners to the image; class-wise rows of several boxes are clipped box by box.

    Args:
        boxes: (..., 4 * K) x1, y1, x2, y2 once or once per class, pixels.
        size: image height and width.

    Returns:
        Clipped boxes of the same shape, x in [0, width], y in [0, height].
    """
    height, width = size
    boxes = boxes.float()
    clipped = torch.stack(
        (boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)), dim=-1
    )  # (..., 2 * K, 2)
    return clipped.flatten(-2)


def rescale_boxes(
    boxes: torch.Tensor, size: tuple[int, int], target_size: tuple[int, int]
) -> torch.Tensor:
    """Move boxes from an image of `size` to the same image resized to `target_size`.

    Args:
        boxes: (N, 4) pixels of `size`.
        size: height and width the boxes are in.
        target_size: height and width the result is in.

    Returns:
        (N, 4) boxes in pixels of `target_size`.
    """
    scale_y, scale_x = target_size[0] / size[0], target_size[1] / size[1]
    return boxes.float() * boxes.new_tensor((scale_x, scale_y, scale_x, scale_y), dtype=torch.float)
