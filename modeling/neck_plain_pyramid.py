"""Four strides from the maps of a plain vision transformer, which all have that of its patches.

Letters: B batch, C channels, H W map, p stride of the patches.

Source: the operators `fpn1` to `fpn4` of the original `vit_win_rvsa_v3_wsz7.py`; first in BEiT
(https://arxiv.org/abs/2106.08254).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, H, W) at every place."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class DoublingDeconvolution(nn.ConvTranspose2d):
    """Double height and width of a map, each place by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=2, stride=2)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return (B, C, 2 H, 2 W) of a map (B, C, H, W)."""
        # On a CPU, channels last is the faster layout forwards and by far the slower one backwards.
        layout = torch.contiguous_format if torch.is_grad_enabled() else torch.channels_last
        return super().forward(input.contiguous(memory_format=layout), output_size)


class PlainPyramid(nn.Module):
    """Bring four maps of stride p to strides p / 4, p / 2, p and 2 p.

    Args:
        channels: C, the same in all maps.
        layer_norm_eps: epsilon of the norm between the two deconvolutions of the finest map.
    """

    def __init__(self, channels: int, layer_norm_eps: float) -> None:
        super().__init__()
        self.quarter_stride = nn.Sequential(
            DoublingDeconvolution(channels),
            ChannelLayerNorm(channels, eps=layer_norm_eps),
            nn.GELU(),
            DoublingDeconvolution(channels),
        )
        self.half_stride = DoublingDeconvolution(channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Resample four maps (B, C, H, W).

        Kept: the coarsest map loses the last row or column of an odd grid.
        """
        finest, fine, same, coarse = maps
        return [
            self.quarter_stride(finest),
            self.half_stride(fine),
            same,
            F.max_pool2d(coarse, 2),
        ]
