"""Mixing of the scenes of a batch as a recipe says; a pure function of seed, batch and process."""

import numpy as np

from mtp_hf.data.batch_mix import BatchMix
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.loop import Inputs


def make_mix(recipe: FinetuneRecipe, num_classes: int) -> BatchMix | None:
    """Make the mix of a recipe; None, where nothing is mixed."""
    mix = recipe.mix
    if not mix.mixup_alpha and not mix.cutmix_alpha:
        return None
    return BatchMix(
        num_classes,
        mixup_alpha=mix.mixup_alpha,
        cutmix_alpha=mix.cutmix_alpha,
        probability=mix.probability,
    )


def mix_batch(mix: BatchMix, inputs: Inputs, *, seed: int, number: int, process: int) -> Inputs:
    """Mix images with their neighbours, so that labels become shares of the classes.

    Args:
        mix: see `BatchMix`.
        inputs: `pixel_values` (B, 3, H, W) float and `labels` (B,) int64, on the device.
        seed: of the recipe.
        number: of the batch in the run, on this process.
        process: its index.

    Returns:
        The same with `labels` (B, K) float32.
    """
    rng = np.random.default_rng([seed, number, process])
    pixel_values, labels = mix(inputs["pixel_values"], inputs["labels"], rng)
    return {"pixel_values": pixel_values, "labels": labels}
