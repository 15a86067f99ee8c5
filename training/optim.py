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

from mtp_hf.training.recipe_sections import Schedule

BACKBONE_PREFIX = "backbone."
POSITION_TABLE = "position_embeddings"  # `pos_embed` in the original


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Sort the trainable parameters by learning rate and weight decay.

    Args:
        model: has a `backbone`; with `layer_id(name) -> int` and `num_layers`, where the rate
            decays layer by layer.
        lr: learning rate outside the backbone.
        weight_decay: of the parameters that are decayed.
        layer_decay: factor per layer; 1 makes two groups, decayed and not decayed.

    Returns:
        Groups for an optimizer: `params`, `lr`, `weight_decay`, and for the reader `name`,
        `lr_scale` and `names`; ordered by layer.

    Raises:
        ValueError: the rate should decay over layers that the backbone does not tell.
    """
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    backbone: Any = model.backbone
    has_layers = hasattr(backbone, "layer_id")
    if layer_decay != 1.0 and not has_layers:
        raise ValueError(
            f"optimizer.layer_decay={layer_decay}: {type(backbone).__name__} does not tell the"
            " depth of its parameters; expected 1.0"
        )
    num_layers = backbone.num_layers if has_layers else 0
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


def learning_rate_factor(step: int, schedule: Schedule) -> float:
    """Return the factor on the learning rate of optimizer step `step`, counted from 0.

    In the warm-up of W steps it is s + (1 - s) step / (W - 1) with the start s, by default 1 / W.
    What comes then is counted from the end of the warm-up, the milestones from the start of the
    run.
    """
    return _warmup(step, schedule) * _after_warmup(step, schedule)


def _warmup(step: int, schedule: Schedule) -> float:
    length, start = schedule.warmup_steps, schedule.warmup_start
    if step >= length:
        return 1.0
    start = 1 / length if start is None else start
    return start + (1 - start) * step / (length - 1) if length > 1 else start


def _after_warmup(step: int, schedule: Schedule) -> float:
    if schedule.kind == "multistep":
        return schedule.gamma ** sum(step >= milestone for milestone in schedule.milestones)
    if schedule.kind == "constant" or step < schedule.warmup_steps:
        return 1.0
    done = (step - schedule.warmup_steps) // schedule.update_every * schedule.update_every
    progress = min(1.0, done / (schedule.steps - schedule.warmup_steps))
    if schedule.kind == "poly":
        return (1.0 - progress) ** schedule.power
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def build_schedule(optimizer: torch.optim.Optimizer, schedule: Schedule) -> LambdaLR:
    """Make the schedule; its `step()` is due once per optimizer step on any number of processes."""
    return LambdaLR(optimizer, lambda step: learning_rate_factor(step, schedule))
