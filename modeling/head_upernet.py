"""UPerNet: pyramid pooling on the coarsest map, top-down fusion of four maps, per-set classifier.

The decoder holds everything that data sets share; a classifier belongs to one set. Its batch norms
keep statistics per call, so the pretraining model calls it once for each set.
B batch, C channels, H W feature size, K classes.

Source: Xiao et al. 2018, section 3 (original spec 2.3).
"""

import torch
from torch import nn

from .layers_conv import ConvNormReLU
from .ops_label_maps import resize_bilinear


class UPerNetDecoder(nn.Module):
    """Fuse four backbone maps into one map at the resolution of the finest.

    Args:
        in_channels: Channels of the backbone maps, finest first.
        hidden_size: Width of every layer and of the output.
        pool_scales: Sides, in cells, of the pooled maps of the pyramid pooling module.
    """

    def __init__(self, in_channels: list[int], hidden_size: int, pool_scales: list[int]) -> None:
        super().__init__()
        self.pool_scales = tuple(pool_scales)
        self.pool_convs = nn.ModuleList(
            ConvNormReLU(in_channels[-1], hidden_size, 1) for _ in pool_scales
        )
        pooled_channels = in_channels[-1] + len(pool_scales) * hidden_size
        self.pool_bottleneck = ConvNormReLU(pooled_channels, hidden_size, 3)
        self.lateral_convs = nn.ModuleList(
            ConvNormReLU(c, hidden_size, 1) for c in in_channels[:-1]
        )
        self.output_convs = nn.ModuleList(
            ConvNormReLU(hidden_size, hidden_size, 3) for _ in in_channels[:-1]
        )
        self.fusion = ConvNormReLU(len(in_channels) * hidden_size, hidden_size, 3)

    def forward(self, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Fuse maps (B, C_l, H_l, W_l), finest first, into (B, hidden_size, H_0, W_0)."""
        maps = [conv(x) for conv, x in zip(self.lateral_convs, features[:-1], strict=True)]
        maps.append(self._pool_pyramid(features[-1]))
        for level in range(len(maps) - 1, 0, -1):
            maps[level - 1] = maps[level - 1] + resize_bilinear(
                maps[level], maps[level - 1].shape[-2:]
            )
        outputs = [conv(x) for conv, x in zip(self.output_convs, maps[:-1], strict=True)]
        outputs.append(maps[-1])
        size = outputs[0].shape[-2:]
        return self.fusion(
            torch.cat([outputs[0], *(resize_bilinear(x, size) for x in outputs[1:])], dim=1)
        )

    def _pool_pyramid(self, x: torch.Tensor) -> torch.Tensor:
        """Append pooled context to the coarsest map and reduce it to the hidden size."""
        size = x.shape[-2:]
        pooled = [
            resize_bilinear(conv(nn.functional.adaptive_avg_pool2d(x, scale)), size)
            for scale, conv in zip(self.pool_scales, self.pool_convs, strict=True)
        ]
        return self.pool_bottleneck(torch.cat([x, *pooled], dim=1))


class SegmentationClassifier(nn.Module):
    """Classify each cell of the fused map: channel dropout and a 1 x 1 convolution.

    Args:
        hidden_size: Channels of the fused map.
        num_labels: Classes, background included.
        dropout: Probability that a channel is dropped in training.
    """

    def __init__(self, hidden_size: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(hidden_size, num_labels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to logits (B, K, H, W)."""
        return self.classifier(self.dropout(features))

    def loss(self, logits: torch.Tensor, semantic_labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute cross entropy at label resolution.

        Kept: the sum over labelled pixels is divided by the number of all pixels, ignored ones
        included, so padding lowers the loss (original spec 6, quirk 30).

        Args:
            logits: (B, K, H, W).
            semantic_labels: (B, H', W') int64, 0..K-1, 255 = ignore.

        Returns:
            `loss_segmentation`, a scalar.
        """
        logits = resize_bilinear(logits.float(), semantic_labels.shape[-2:])
        total = nn.functional.cross_entropy(
            logits, semantic_labels, ignore_index=255, reduction="sum"
        )
        return {"loss_segmentation": total / max(semantic_labels.numel(), 1)}
