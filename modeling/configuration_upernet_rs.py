"""Configuration of UPerNet. Source: Xiao et al. 2018; values of original spec 2.3."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_checks import check_windows, reject_unknown_keys
from .configuration_internimage import InternImageConfig  # noqa: F401  (registers the backbone)
from .configuration_vit_rvsa import ViTRVSAConfig  # noqa: F401  (registers the backbone)


@strict
class UperNetRSConfig(PreTrainedConfig):
    """Configure semantic segmentation.

    Args:
        backbone_config: Backbone, or None where the decoder is a part of a larger model.
        hidden_size: Width of the decoder; by default 512 with a backbone (published finetuning) and
            256 without one (published pretraining).
        pool_scales: Sides, in cells, of the pooled maps.
        dropout: Probability that a channel is dropped before the classifier.
        test_window: Side in pixels of the windows that a large image is predicted by, as measured;
            None: whole.
        test_stride: From one window to the next; with `test_window`.
    """

    model_type = "mtp_upernet"
    sub_configs_defaults = {
        "backbone_config": SubConfigSpec(
            config_class=AutoConfig, model_type="mtp_vit_rvsa", optional=True
        )
    }

    backbone_config: dict | PreTrainedConfig | None = None
    hidden_size: int | None = None
    pool_scales: list[int] | tuple[int, ...] = (1, 2, 3, 6)
    dropout: float | int = 0.1
    test_window: int | None = None
    test_stride: int | None = None

    def __post_init__(self, **kwargs: object) -> None:
        reject_unknown_keys(self, kwargs)
        super().__post_init__(**kwargs)
        if self.hidden_size is None:
            self.hidden_size = 256 if self.backbone_config is None else 512

    def validate_architecture(self) -> None:
        """Refuse windows that leave pixels out."""
        check_windows(self.test_window, self.test_stride)


AutoConfig.register("mtp_upernet", UperNetRSConfig, exist_ok=True)
