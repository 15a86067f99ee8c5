"""Mask head of Mask R-CNN: a small convolutional network on each pooled region.

All data sets share the head; a 1 x 1 convolution for each set gives one mask per class.
P positive regions, K classes, C channels.

Source: He et al. 2017, section 3 (original spec 2.4, 7.5, 7.8).
"""

import torch
from torch import nn

from .head_box import SampledRegions, to_rois
from .layers_conv import KaimingConv2d
from .ops_masks import mask_targets
from .ops_roi_align import multilevel_roi_align


class MaskHead(nn.Module):
    """Turn regions into feature maps of twice the pooled side.

    Args:
        in_channels: Channels of the pyramid maps.
        hidden_size: Channels of every layer and of the output.
        num_convs: 3 x 3 convolutions before the upsampling.
        strides: Pixels per cell of the pyramid maps that regions are pooled from.
        roi_size: Side of the pooled square, in cells.
        finest_scale: Regions with sides up to twice this many pixels use the finest map.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_size: int,
        num_convs: int,
        *,
        strides: list[int],
        roi_size: int,
        finest_scale: int,
    ) -> None:
        super().__init__()
        self.strides = list(strides)
        self.roi_size = roi_size
        self.finest_scale = finest_scale
        widths = [in_channels] + [hidden_size] * num_convs
        self.convs = nn.ModuleList(
            KaimingConv2d(c_in, c_out, 3, padding=1)
            for c_in, c_out in zip(widths[:-1], widths[1:], strict=True)
        )
        self.upsample = nn.ConvTranspose2d(widths[-1], hidden_size, 2, stride=2)

    def forward(self, features: list[torch.Tensor], proposals: list[torch.Tensor]) -> torch.Tensor:
        """Compute maps (P, C, 2 roi_size, 2 roi_size) of regions given as B tensors (P_i, 4)."""
        maps = list(features[: len(self.strides)])
        x = multilevel_roi_align(
            maps,
            to_rois(proposals),
            self.roi_size,
            strides=self.strides,
            finest_scale=self.finest_scale,
        ).to(features[0].dtype)
        for conv in self.convs:
            x = nn.functional.relu(conv(x))
        return nn.functional.relu(self.upsample(x))

    def loss(
        self,
        mask_logits: torch.Tensor,
        samples: list[SampledRegions],
        gt_masks: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Compute binary cross entropy of the mask of each object's own class.

        Args:
            mask_logits: (P, K, side, side) of all positive regions, images one after the other.
            samples: Of each image.
            gt_masks: B tensors (G_i, H, W) bool.

        Returns:
            `loss_mask`, a mean over cells.
        """
        if not len(mask_logits):
            return {"loss_mask": mask_logits.float().sum() * 0}
        side = mask_logits.shape[-1]
        targets = torch.cat(
            [
                mask_targets(masks, sample.positive_boxes, sample.matched, side)
                for sample, masks in zip(samples, gt_masks, strict=True)
            ]
        )
        labels = torch.cat([sample.labels[: len(sample.matched)] for sample in samples])
        chosen = mask_logits[torch.arange(len(labels), device=labels.device), labels].float()
        return {"loss_mask": nn.functional.binary_cross_entropy_with_logits(chosen, targets)}

    @torch.no_grad()
    def predict(self, mask_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the probabilities (P, side, side) of the masks of classes `labels` (P,)."""
        index = torch.arange(len(labels), device=labels.device)
        return mask_logits[index, labels].float().sigmoid()
