"""Initial values of layers outside the backbone, for `_init_weights` of the task models.

Loading from the meta device leaves everything that a file lacks as uninitialised memory, so that
even PyTorch's own start has to be written down here. Values that were loaded stay.

Source: original spec 2.1 (pretraining) and 3.0 (finetuning, head initialisation).
"""

import math

import torch
from torch import nn
from transformers import initialization as init

from .layers_conv import KaimingConv2d


@torch.no_grad()
def init_layer(module: nn.Module) -> None:
    """Draw one convolution, linear layer or batch norm; leave other modules alone.

    A `KaimingConv2d` starts as its class says, other layers with weights as PyTorch makes them.
    """
    if isinstance(module, KaimingConv2d):
        init_kaiming(module)
    elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        init.kaiming_uniform_(module.weight, a=5**0.5)
        if module.bias is not None:
            bound = max(module.weight[0].numel(), 1) ** -0.5
            init.uniform_(module.bias, -bound, bound)
    elif isinstance(module, nn.BatchNorm2d):
        init.ones_(module.weight)
        init.zeros_(module.bias)
        init.constant_(module.get_buffer("running_mean"), 0.0)
        init.constant_(module.get_buffer("running_var"), 1.0)
        init.constant_(module.get_buffer("num_batches_tracked"), 0)


@torch.no_grad()
def init_normal(layer: nn.Conv2d | nn.Linear, std: float) -> None:
    """Draw a weight from N(0, std) and set the bias to zero, as finetuned last layers start."""
    init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        init.zeros_(layer.bias)


@torch.no_grad()
def init_xavier(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw a weight from Glorot's uniform and set the bias to zero, as finetuned necks start."""
    init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        init.zeros_(layer.bias)


@torch.no_grad()
def init_kaiming(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Draw a weight from a Kaiming normal (fan out) and set the bias to zero, as masks start."""
    init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        init.zeros_(layer.bias)


@torch.no_grad()
def init_rare(layer: nn.Conv2d, std: float, probability: float) -> None:
    """Draw a weight from N(0, std) and set the bias so that objects begin as that probable."""
    init.normal_(layer.weight, std=std)
    init.constant_(layer.get_parameter("bias"), -math.log((1 - probability) / probability))
