"""Low-rank updates of a backbone (LoRA): its weights stay, small matrices beside them learn.

Each linear layer W of the backbone becomes W + B A, with A (rank, in) and B (out, rank); B starts
with zeros, so the network starts as it was. The scale is 1 (`alpha = rank`). Layers that are not
linear, norms and position tables stay too; the head is trained whole. `plain_network` adds the
updates to the weights, so that what is written loads without peft.

Source: LoRA, Hu et al. 2021 (arXiv 2106.09685). The original's finetuning does not use it.
"""

import copy
from typing import Any

from torch import nn
from transformers.utils import is_peft_available


def check_low_rank(rank: int | None) -> None:
    """Check that low-rank updates are possible where they are asked for.

    Raises:
        ValueError: peft is not installed.
    """
    if rank is not None and not is_peft_available():
        raise ValueError(
            f"model.lora_rank={rank} needs peft, which is not installed: pip install mtp-hf[lora]"
        )


def add_low_rank_updates(backbone: nn.Module, rank: int) -> int:
    """Freeze a backbone and put updates beside all of its linear layers, in place.

    Args:
        backbone: with the weights that stay.
        rank: of the updates.

    Returns:
        Number of layers that have one.

    Raises:
        ValueError: there is no linear layer, or peft is not installed.
    """
    check_low_rank(rank)
    from peft import LoraConfig, inject_adapter_in_model  # an extra: most runs do without

    layers = [name for name, each in backbone.named_modules() if isinstance(each, nn.Linear)]
    if not layers:
        raise ValueError(
            f"model.lora_rank={rank}: {type(backbone).__name__} has no linear layer to update"
        )
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=layers, bias="none")
    inject_adapter_in_model(config, backbone)  # freezes everything else of the backbone
    return len(layers)


def plain_network(network: Any) -> Any:
    """Return the network with the updates added to the weights; itself, if it has none."""
    if not _updated_layers(network):
        return network
    merged = copy.deepcopy(network)
    for name, layer in _updated_layers(merged).items():
        layer.merge()
        merged.set_submodule(name, layer.get_base_layer())
    return merged


def _updated_layers(network: nn.Module) -> dict[str, Any]:
    if not is_peft_available():
        return {}
    from peft.tuners.lora import LoraLayer

    return {name: each for name, each in network.named_modules() if isinstance(each, LoraLayer)}
