"""Configuration of change detection with a siamese backbone. Values of original spec 3.5."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_checks import check_windows, reject_unknown_keys
from .configuration_internimage import InternImageConfig  # noqa: F401  (registers the backbone)
from .configuration_vit_rvsa import ViTRVSAConfig  # noqa: F401  (registers the default backbone)


@strict
class SiameseUNetConfig(PreTrainedConfig):
    """Configure change detection.

    Args:
        backbone_config: Backbone with four maps; by default ViT-B + RVSA without pyramid.
        hidden_sizes: Channels of the four blocks of the decoder, in the order in which they run.
        dropout: Probability that a channel is dropped before the classifier.
        test_window: Side in pixels of the windows that a large image is predicted by, as measured;
            None: whole.
        test_stride: From one window to the next; with `test_window`.
        id2label: Names of the classes; by default `unchanged` and `changed`.
    """

    model_type = "mtp_siamese_unet"
    sub_configs_defaults = {
        "backbone_config": SubConfigSpec(
            config_class=AutoConfig,
            model_type="mtp_vit_rvsa",
            init_kwargs={"feature_variant": "multi_depth", "image_size": 256},
        )
    }

    backbone_config: dict | PreTrainedConfig | None = None
    hidden_sizes: list[int] | tuple[int, ...] = (512, 256, 128, 64)
    dropout: float | int = 0.1
    test_window: int | None = None
    test_stride: int | None = None

    def __post_init__(self, **kwargs: object) -> None:
        reject_unknown_keys(self, kwargs)
        if self.id2label is None and kwargs.get("num_labels", 2) == 2:
            self.id2label = {0: "unchanged", 1: "changed"}
            self.label2id = {"unchanged": 0, "changed": 1}
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse a decoder that has not four blocks, and windows that leave pixels out."""
        if len(self.hidden_sizes) != 4:
            raise ValueError(f"hidden_sizes {self.hidden_sizes}: expected four")
        check_windows(self.test_window, self.test_stride)


AutoConfig.register("mtp_siamese_unet", SiameseUNetConfig, exist_ok=True)
