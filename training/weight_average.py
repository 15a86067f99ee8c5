"""A running average of the weights, which is measured and saved in their place.

After each optimizer step `average <- decay * average + (1 - decay) * weights`; the first step sets
the average to the weights. Statistics of norms are not averaged but copied.

Source: exponential moving average of Polyak averaging as in mmengine's `EMAHook`; the published
finetuning does not use it.
"""

from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mtp_hf.training.loop import Prepared


def average_weights(prepared: Prepared, decay: float) -> AveragedModel:
    """Average the weights from now on, and make the average a part of checkpoints.

    Batches that are accumulated and steps that the loss scaler leaves out do not count.

    Args:
        prepared: model and optimizer, on every process.
        decay: share of the average that each step keeps.

    Returns:
        The average; the network is its `module`.

    Raises:
        ValueError: the weights are shared out over processes.
    """
    accelerator = prepared.accelerator
    _check_weights_are_whole(accelerator)
    network: nn.Module = accelerator.unwrap_model(prepared.model)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
    average.requires_grad_(False)
    accelerator.register_for_checkpointing(average)
    optimizer = getattr(prepared.optimizer, "optimizer", prepared.optimizer)
    optimizer.register_step_post_hook(lambda *_: average.update_parameters(network))
    return average


def _check_weights_are_whole(accelerator: Accelerator) -> None:
    kind = accelerator.distributed_type
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise ValueError(
            f"optimizer.ema_decay does not go with {kind.value}, which shares out the weights;"
            " launch with DDP, or set optimizer.ema_decay=null"
        )
