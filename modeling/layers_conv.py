"""Convolution blocks of necks and heads.

Here: a convolution with its own initialisation, and convolution-norm-ReLU with a batch norm that
also works on one value per channel. B batch, C channels, H W feature size.

Source: the ConvModule blocks of UPerNet and FPN (Xiao et al. 2018, section 3; Lin et al. 2017).
"""

import torch
from torch import nn


class KaimingConv2d(nn.Conv2d):
    """Mark a convolution that starts from a Kaiming normal (fan out) weight and a zero bias.

    The class only marks: the models' `_init_weights` read it. Other convolutions of the heads keep
    PyTorch's default start, as in the original pretraining (original spec 2.1).
    """


class BatchNormOrRunning(nn.BatchNorm2d):
    """Normalise with batch statistics, or with running ones where a batch has none.

    Differs: with one value per channel (one image, a 1 x 1 pooled map) batch statistics do not
    exist and PyTorch raises; here the running averages are used and left unchanged. The original
    relies on synchronisation over many GPUs at this place.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise `x` (B, C, H, W)."""
        if self.training and x.numel() == x.shape[1]:
            # Copies, because a later call of the same step updates the averages in place, and the
            # gradient of this one reads them.
            mean, var = self.get_buffer("running_mean"), self.get_buffer("running_var")
            return nn.functional.batch_norm(
                x, mean.clone(), var.clone(), self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


class ConvNormReLU(nn.Module):
    """Apply convolution (no bias), batch norm and ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd side of the kernel; padding keeps the size.
        conv_class: A class that starts otherwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        conv_class: type[nn.Conv2d] = KaimingConv2d,
    ) -> None:
        super().__init__()
        self.conv = conv_class(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False
        )
        self.norm = BatchNormOrRunning(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        return nn.functional.relu(self.norm(self.conv(x)))
