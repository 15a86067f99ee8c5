"""Configuration of RetinaNet. Source: Lin et al. 2017; values of original spec 3.2 (xView)."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_checks import check_map_strides, reject_unknown_keys
from .configuration_internimage import InternImageConfig  # noqa: F401  (registers the backbone)
from .configuration_vit_rvsa import ViTRVSAConfig  # noqa: F401  (registers the backbone)


@strict
class RetinaNetConfig(PreTrainedConfig):
    """Configure one-stage detection of horizontal boxes.

    Args:
        backbone_config: Backbone; a model needs one.
        hidden_size: Channels of the pyramid and of the head.
        strides: Pixels per cell of the backbone maps.
        start_level: Backbone maps before this are not read.
        num_extra_levels: Coarser maps of the pyramid, each of twice the stride before.
        num_convs: 3 x 3 convolutions of each branch before its last.
        anchor_scales: Anchor sides in units of the stride; by default 4 in three steps to 8.
        anchor_ratios: Anchor height / width.
        positive_iou: IoU from which an anchor is an object.
        negative_iou: IoU below which an anchor is background; between the two it does not train.
        min_positive_iou: IoU from which the best anchors of an object are its own at any rate.
        pad_divisor: Each image counts as padded to a multiple of this, and anchors of cells beyond
            do not train; 0 = all cells of the batch do.
        focal_alpha: Weight of objects against background in the focal loss.
        focal_gamma: How much less easy anchors count.
        test_pre_nms: Scores of a level, over anchors and classes, before NMS.
        score_threshold: Class probability that a detection exceeds.
        nms_iou: IoU above which the lower scored detection of a class goes.
        max_detections: Detections of an image.
    """

    model_type = "mtp_retinanet"
    sub_configs_defaults = {
        "backbone_config": SubConfigSpec(
            config_class=AutoConfig, model_type="mtp_vit_rvsa", optional=True
        )
    }

    backbone_config: dict | PreTrainedConfig | None = None
    hidden_size: int = 256
    strides: list[int] | tuple[int, ...] = (4, 8, 16, 32)
    start_level: int = 1
    num_extra_levels: int = 2
    num_convs: int = 4
    anchor_scales: list[int | float] | tuple[int | float, ...] = (
        4.0,
        4 * 2 ** (1 / 3),
        4 * 2 ** (2 / 3),
    )
    anchor_ratios: list[int | float] | tuple[int | float, ...] = (0.5, 1.0, 2.0)
    positive_iou: float | int = 0.5
    negative_iou: float | int = 0.4
    min_positive_iou: float | int = 0.0
    pad_divisor: int = 32
    focal_alpha: float | int = 0.25
    focal_gamma: float | int = 2.0
    test_pre_nms: int = 1000
    score_threshold: float | int = 0.05
    nms_iou: float | int = 0.5
    max_detections: int = 100

    def __post_init__(self, **kwargs: object) -> None:
        reject_unknown_keys(self, kwargs)
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse a backbone with maps of other strides, and a pyramid without a map to read."""
        super().validate_architecture()
        check_map_strides(self.backbone_config, self.strides, self.model_type)
        if not 0 <= self.start_level < len(self.strides):
            raise ValueError(
                f"start_level {self.start_level}: expected 0 to {len(self.strides) - 1}, "
                f"for maps of strides {list(self.strides)}"
            )
        if self.num_extra_levels < 1:
            raise ValueError(f"num_extra_levels {self.num_extra_levels}: expected 1 or more")

    @property
    def pyramid_strides(self) -> tuple[int, ...]:
        """Pixels per cell of the maps that the head reads."""
        used = tuple(self.strides[self.start_level :])
        return used + tuple(used[-1] * 2 ** (i + 1) for i in range(self.num_extra_levels))


AutoConfig.register("mtp_retinanet", RetinaNetConfig, exist_ok=True)
