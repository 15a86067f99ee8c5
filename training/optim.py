"""Parameter groups, AdamW and the learning rate over optimizer steps.

No weight decay for vectors (biases, norms), names ending in `.bias` and the position table; the 2-D
tables of relative positions are decayed. Layer-wise decay multiplies the learning rate of a
backbone layer by `layer_decay ** (L + 1 - id)`, with L layers and the ids that the backbone itself
gives to its parameters; everything outside the backbone has id L + 1, a factor of one.

Kept: the effective values of the original. Its ViT pretraining looks for the prefix `backbone.`
where the module is called `encoder`, so no layer decay reaches it: `layer_decay: 1.0` in the
pretraining recipes.

Source: `mmcv_custom/layer_decay_optimizer_constructor_vit.py` and `main_pretrain.py` of the
original code.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

BACKBONE_PREFIX = "backbone."
POSITION_TABLE = "position_embeddings"  # `pos_embed` in the original


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Sort the trainable parameters by learning rate and weight decay.

    Args:
        model: has a `backbone` with `layer_id(name) -> int` and `num_layers`.
        lr: learning rate outside the backbone.
        weight_decay: of the parameters that are decayed.
        layer_decay: factor per layer; 1 makes two groups, decayed and not decayed.

    Returns:
        Groups for an optimizer: `params`, `lr`, `weight_decay`, and for the reader `name`,
        `lr_scale` and `names`; ordered by layer.
    """
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    backbone: Any = model.backbone
    num_layers = backbone.num_layers
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = num_layers + 1
        if layer_decay != 1.0 and name.startswith(BACKBONE_PREFIX):
            layer = backbone.layer_id(name.removeprefix(BACKBONE_PREFIX))
        decayed = is_decayed(name, parameter)
        scale = layer_decay ** (num_layers + 1 - layer)
        group = groups.setdefault(
            (layer, decayed),
            {
                "name": f"layer_{layer}_{'decay' if decayed else 'no_decay'}",
                "lr": lr * scale,
                "lr_scale": scale,
                "weight_decay": weight_decay if decayed else 0.0,
                "params": [],
                "names": [],
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether weight decay acts on a parameter."""
    return parameter.ndim > 1 and not name.endswith(".bias") and POSITION_TABLE not in name


def build_optimizer(groups: list[dict[str, Any]], *, betas: tuple[float, float]) -> AdamW:
    """Make AdamW over the groups, with the fused kernel where the parameters' device has one."""
    tensors = [parameter for group in groups for parameter in group["params"]]
    fused = all(parameter.is_cuda for parameter in tensors)
    groups = [{key: value for key, value in group.items() if key != "names"} for group in groups]
    return AdamW(groups, betas=betas, fused=fused)


def learning_rate_factor(step: int, *, steps: int, warmup_steps: int, kind: str) -> float:
    """Return the factor on the learning rate of optimizer step `step`, counted from 0.

    Linear from 1 / warmup_steps to 1 during warm-up, then 1 (`constant`) or half a cosine to 0 at
    `steps`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if kind == "constant":
        return 1.0
    progress = min(1.0, (step - warmup_steps) / (steps - warmup_steps))
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def build_schedule(
    optimizer: torch.optim.Optimizer, *, steps: int, warmup_steps: int, kind: str
) -> LambdaLR:
    """Make the schedule; its `step()` is due once per optimizer step on any number of processes."""

    def factor(step: int) -> float:
        return learning_rate_factor(step, steps=steps, warmup_steps=warmup_steps, kind=kind)

    return LambdaLR(optimizer, factor)
