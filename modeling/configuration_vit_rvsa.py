"""Configuration of the ViT + RVSA backbone and the sizes MTP published.

Unusual: stages count the stem as 0, so the output of block k (zero-based, as in the original) is
stage k + 1.

Source: MTP (https://arxiv.org/abs/2403.13430); RVSA (https://arxiv.org/abs/2208.03987).
"""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.backbone_utils import BackboneConfigMixin

from .configuration_checks import reject_unknown_keys


@strict
class ViTRVSAConfig(BackboneConfigMixin, PreTrainedConfig):
    """Describe a plain ViT that attends in rotated varied-size windows, in some blocks globally.

    The plain ViT of an autoencoder (MAE), without class token, is `full_attention_interval=1` with
    `use_full_attention_rel_pos=False`.

    Args:
        hidden_size: channels C of the tokens and of every feature map.
        num_hidden_layers: number of blocks.
        num_attention_heads: heads M; the head size is C / M.
        mlp_ratio: hidden width of the MLP over C.
        window_size: side of a window in tokens; odd. The original knows only 7.
        full_attention_interval: every so many blocks attend to the whole grid.
        patch_size: side of a patch in pixels, and the stride of the tokens.
        num_channels: channels of the image.
        image_size: native side in pixels, which the position tables are made for. Any other input
            size works as well: the forward pass interpolates the tables.
        drop_path_rate: stochastic depth of the last block, linear from 0 at the first.
        layer_norm_eps: epsilon of every layer norm.
        initializer_range: standard deviation of linear layers and position tables.
        feature_variant: `multi_depth_pyramid`: four blocks, brought to strides 4, 8, 16 and 32
            (pretraining, segmentation, published detectors); `multi_depth`: the outputs of blocks
            as they are, stride 16 (classification, change detection); `last_layer_pyramid`: the
            normalised last block at four strides, where `out_indices` only name the maps.
        use_full_attention_rel_pos: whether global blocks have decomposed relative positions; false
            in every published detection checkpoint.
        zero_init_sampling: start all windows in their own place. The original means to, but leaves
            these layers random, and so do we by default.
        out_indices: stages of the maps, stem = 0; by default a third, a half, two thirds and all
            of the depth.
        out_features: the same by name, `stage1` being the first block.
    """

    model_type = "mtp_vit_rvsa"

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    mlp_ratio: float | int = 4
    window_size: int = 7
    full_attention_interval: int = 3
    patch_size: int = 16
    num_channels: int = 3
    image_size: int = 224
    drop_path_rate: float | int = 0.1
    layer_norm_eps: float | int = 1e-6
    initializer_range: float | int = 0.02
    feature_variant: Literal["multi_depth_pyramid", "multi_depth", "last_layer_pyramid"] = (
        "multi_depth_pyramid"
    )
    use_full_attention_rel_pos: bool = True
    zero_init_sampling: bool = False
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Name the stages and choose the four output stages of the size."""
        self.stage_names = ["stem"] + [f"stage{i + 1}" for i in range(self.num_hidden_layers)]
        out_indices = kwargs.pop("out_indices", None)
        out_features = kwargs.pop("out_features", None)
        if out_indices is None and out_features is None:
            out_indices = default_out_indices(self.num_hidden_layers)
        self.set_output_features_output_indices(out_features, out_indices)
        kwargs.pop("stage_names", None)  # written by transformers, derived here
        reject_unknown_keys(self, kwargs)
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Check the fields against each other.

        Raises:
            ValueError: sizes that do not divide, or not four output stages for a pyramid.
        """
        super().validate_architecture()
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.full_attention_interval < 1:
            raise ValueError(f"full_attention_interval {self.full_attention_interval} is below 1")
        if self.window_size % 2 == 0:
            raise ValueError(f"window_size {self.window_size} is not odd")
        if self.feature_variant == "multi_depth":
            return
        if len(self.out_indices) != 4:
            raise ValueError(
                f"{self.feature_variant} makes four maps and needs four out_indices, "
                f"got {self.out_indices}"
            )
        if self.patch_size % 4:
            raise ValueError(f"a pyramid needs a patch_size divisible by 4, got {self.patch_size}")

    @property
    def map_strides(self) -> list[int]:
        """Strides of the feature maps in pixels, one per map."""
        if self.feature_variant == "multi_depth":
            return [self.patch_size] * len(self.out_indices)
        return [self.patch_size // 4, self.patch_size // 2, self.patch_size, self.patch_size * 2]


def default_out_indices(num_hidden_layers: int) -> list[int]:
    """Return the stages a third, a half, two thirds and all the way up.

    Raises:
        ValueError: fewer than four blocks have no four different stages.
    """
    stages: list[int] = []
    for numerator, denominator in ((1, 3), (1, 2), (2, 3), (1, 1)):
        previous = stages[-1] if stages else 0
        stages.append(max(num_hidden_layers * numerator // denominator, previous + 1))
    if stages[-1] > num_hidden_layers:
        raise ValueError(f"num_hidden_layers {num_hidden_layers} is below 4: give out_indices")
    return stages


# Published sizes; `tiny` is for tests and demonstrations.
VIT_RVSA_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "full_attention_interval": 3,
        "image_size": 128,
    },
    "base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "full_attention_interval": 3,
        "image_size": 224,
    },
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "full_attention_interval": 6,
        "image_size": 448,
    },
}

AutoConfig.register(ViTRVSAConfig.model_type, ViTRVSAConfig, exist_ok=True)
