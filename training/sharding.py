"""Optimizer and weights shared out over processes: FSDP2, and DeepSpeed ZeRO stage 1 or 2.

`accelerate launch --config_file` chooses them (files in `training/launch/`); without, every process
holds the whole network (DDP), which is faster and enough for a ViT-L on one GPU. Here is what the
two need besides `accelerator.prepare`, and what is refused because it would fail late or learn
something else.
"""

import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy

from mtp_hf.training.recipe_sections import CommonRecipe


def sharding_plugins() -> dict[str, Any]:
    """Return the plugin that `Accelerator` needs if the launcher asks for FSDP.

    Weights stay float32 and autocast chooses the precision of each operation, as without sharding;
    Accelerate's own choice would give batch norms and box arithmetic bf16 weights.

    Raises:
        ValueError: the launcher asks for the first FSDP.
    """
    if not _is_set("ACCELERATE_USE_FSDP"):
        return {}
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise ValueError(
            f"the launcher asks for FSDP {version}; this script is made for fsdp_version: 2, as in"
            " training/launch/fsdp2.yaml"
        )
    return {
        "fsdp_plugin": FullyShardedDataParallelPlugin(mixed_precision_policy=MixedPrecisionPolicy())
    }


def set_up_deepspeed(accelerator: Accelerator, recipe: CommonRecipe) -> None:
    """Give DeepSpeed the recipe's gradient clipping, which its engine does by itself."""
    if accelerator.distributed_type != DistributedType.DEEPSPEED:
        return
    config = accelerator.deepspeed_plugin.deepspeed_config
    config["gradient_clipping"] = recipe.optimizer.max_grad_norm
    config["train_micro_batch_size_per_gpu"] = 1  # demanded; only its log of the speed reads it


def check_sharding(accelerator: Accelerator) -> None:
    """Refuse ways of sharding that the script does not work with.

    Raises:
        ValueError: with the setting to change.
    """
    kind = accelerator.distributed_type
    for asked in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        if _is_set(f"ACCELERATE_USE_{asked.value}") and kind != asked:
            raise ValueError(
                f"the launcher asks for {asked.value}, which needs GPUs; without them every process"
                " would hold the whole network: launch without that configuration"
            )
    if kind == DistributedType.MEGATRON_LM:
        raise ValueError("Megatron-LM is for language models; use DDP, FSDP2 or DeepSpeed ZeRO-2")
    if kind == DistributedType.FSDP and _is_set("FSDP_CPU_RAM_EFFICIENT_LOADING"):
        raise ValueError(
            "fsdp_cpu_ram_efficient_loading: true would leave the start weights (model.init) of all"
            " processes but the first empty; set it to false"
        )
    if kind == DistributedType.FSDP and accelerator.mixed_precision == "fp16":
        raise ValueError("FSDP with mixed_precision: fp16 has not been tried; use bf16")
    if kind != DistributedType.DEEPSPEED:
        return
    stage = accelerator.deepspeed_plugin.zero_stage
    if stage > 2:
        raise ValueError(
            f"DeepSpeed zero_stage: {stage} splits the weights, which validation and saving need"
            " whole; use zero_stage: 2, or training/launch/fsdp2.yaml"
        )
    if accelerator.mixed_precision != "no":
        raise ValueError(
            f"DeepSpeed with mixed_precision: {accelerator.mixed_precision} turns the whole network"
            " into that type, batch norms and box arithmetic too; use it with"
            " mixed_precision: 'no', or training/launch/fsdp2.yaml"
        )


def whole_network(accelerator: Accelerator, model: nn.Module) -> Any:
    """Return the network with all of its weights, to validate or save it; all processes call it.

    Args:
        accelerator: that prepared the model.
        model: the prepared model.

    Returns:
        The network itself; under FSDP a copy, so that processes may use it differently often.
    """
    network = accelerator.unwrap_model(model)
    if accelerator.distributed_type != DistributedType.FSDP:
        return network
    state = get_model_state_dict(network, options=StateDictOptions(full_state_dict=True))
    with torch.random.fork_rng(devices=[]):  # its random start is not that of training
        whole = _class_before_sharding(network)(network.config)
    whole.load_state_dict(state)
    return whole.to(accelerator.device)


def _class_before_sharding(network: nn.Module) -> Any:
    """FSDP2 gives a module a class that inherits from its own."""
    return next(each for each in type(network).__mro__ if not issubclass(each, FSDPModule))


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "false").lower() == "true"
