"""Instance masks: training targets inside boxes, and predictions pasted back into the image.

Both are bilinear. Pasting is separable because boxes are upright: rows and columns are resampled by
two small matrices per box, which is much faster than a sampling grid of the whole image.
Letters: N objects, R boxes, H W image size.
Source: Mask R-CNN (arXiv 1703.06870), section 3.1; matches mmdet's `mask_target` and
`_do_paste_mask`.
"""

import torch
from torchvision.ops import roi_align

MAX_PIXELS = 1 << 22  # Mask pixels held as float at once.


def mask_targets(
    masks: torch.Tensor, boxes: torch.Tensor, mask_index: torch.Tensor, size: int = 28
) -> torch.Tensor:
    """Cut boxes out of object masks and resample them to a fixed size.

    Args:
        masks: (N, H, W) bool.
        boxes: (R, 4) pixels.
        mask_index: (R,) int64, the mask each box is cut from.
        size: side of the target.

    Returns:
        (R, size, size) float32, 0 or 1.
    """
    targets = boxes.new_zeros(len(boxes), size, size, dtype=torch.float)
    step = max(1, MAX_PIXELS // max(1, masks[:1].numel()))
    for start in range(0, len(boxes), step):
        part = slice(start, start + step)
        used, index = torch.unique(mask_index[part], return_inverse=True)
        rois = torch.cat((index[:, None].float(), boxes[part].float()), dim=1)
        cut = roi_align(
            masks[used][:, None].float(), rois, size, aligned=True
        )  # (r, 1, size, size)
        targets[part] = (cut.squeeze(1) >= 0.5).float()
    return targets


def paste_masks(
    mask_probs: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int], threshold: float = 0.5
) -> torch.Tensor:
    """Resample box-shaped mask probabilities into the image and threshold them.

    Args:
        mask_probs: (R, m, m) probabilities over each box.
        boxes: (R, 4) pixels of the image.
        size: image height and width.
        threshold: probability from which a pixel belongs to the object.

    Returns:
        (R, H, W) bool; boxes without area give empty masks.
    """
    height, width = size
    pasted = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    step = max(1, MAX_PIXELS // max(1, height * width))
    with torch.autocast(boxes.device.type, enabled=False):
        for start in range(0, len(boxes), step):
            part = slice(start, start + step)
            x1, y1, x2, y2 = boxes[part].float().unbind(1)
            probs = mask_probs[part].float()
            down = _resampling_matrix(y1, y2, height, probs.shape[1])  # (r, H, m)
            across = _resampling_matrix(x1, x2, width, probs.shape[2])  # (r, W, m)
            torch.ge(down @ probs @ across.mT, threshold, out=pasted[part])
    return pasted


def _resampling_matrix(
    low: torch.Tensor, high: torch.Tensor, num_pixels: int, num_cells: int
) -> torch.Tensor:
    """Bilinear weights (R, pixels, cells) stretching a row of cells over [low, high)."""
    pixels = torch.arange(num_pixels, device=low.device) + 0.5
    extent = (high - low).clamp(min=1e-6)[:, None]
    position = (pixels - low[:, None]) / extent * num_cells - 0.5  # (R, pixels) in cells
    cells = torch.arange(num_cells, device=low.device)
    return (1 - (position[..., None] - cells).abs()).clamp(min=0)
