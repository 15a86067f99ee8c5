"""Mixup and CutMix on a batch that is on its device; labels become shares of the classes.

Source: mixup, Zhang et al. 2018 (arXiv 1710.09412); CutMix, Yun et al. 2019 (arXiv 1905.04899).
The original's finetuning uses neither (spec 3.1); the defaults are those of DeiT, Touvron et al.
2021 (arXiv 2012.12877).
"""

import numpy as np
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torchvision.transforms import v2 as tv

from mtp_hf.data.library_randomness import seeded_libraries
from mtp_hf.data.transforms import check_probability


class BatchMix:
    """Mix each image of a batch with its neighbour, by mixup or CutMix.

    Args:
        num_classes: K.
        mixup_alpha: Of the Beta distribution of mixup's shares; 0 for CutMix alone.
        cutmix_alpha: Of the Beta distribution of CutMix's shares; 0 for mixup alone.
        probability: That a batch is mixed.
        cutmix_probability: Of CutMix instead of mixup where both are used.

    Raises:
        ValueError: Both alphas are 0, one is negative, or a probability is not in 0..1.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        mixup_alpha: float = 0.8,
        cutmix_alpha: float = 1.0,
        probability: float = 1.0,
        cutmix_probability: float = 0.5,
    ) -> None:
        if min(mixup_alpha, cutmix_alpha) < 0 or max(mixup_alpha, cutmix_alpha) == 0:
            raise ValueError(
                f"mixup_alpha {mixup_alpha} and cutmix_alpha {cutmix_alpha}: expected numbers "
                ">= 0, and not both 0"
            )
        self.num_classes = num_classes
        self.probability = check_probability("mixing", probability)
        # One that is not wanted is never drawn; its alpha is there because it must be positive.
        self.mixup = tv.MixUp(alpha=mixup_alpha or 1.0, num_classes=num_classes)
        self.cutmix = tv.CutMix(alpha=cutmix_alpha or 1.0, num_classes=num_classes)
        self.cutmix_probability = (
            check_probability("CutMix", cutmix_probability)
            if mixup_alpha and cutmix_alpha
            else float(cutmix_alpha > 0)
        )

    def __call__(
        self, pixel_values: Tensor, image_labels: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            pixel_values: (B, 3, H, W) float, normalised.
            image_labels: (B,) int64.
            rng: Of this batch, e.g. `np.random.default_rng([seed, step, rank])`.

        Returns:
            The mixed images, and the share of each class in each image, float32 (B, K). Models take
            the shares as `labels`.
        """
        use_mix, use_cutmix = rng.random(2) < (self.probability, self.cutmix_probability)
        if not use_mix:
            return pixel_values, F.one_hot(image_labels, self.num_classes).float()
        with seeded_libraries(rng):
            return (self.cutmix if use_cutmix else self.mixup)(pixel_values, image_labels)
