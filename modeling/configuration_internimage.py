"""Configuration of the InternImage backbone and the sizes that are published.

Unusual: stages count the stem as 0, so level k of the original is stage k + 1.

Source: InternImage (https://arxiv.org/abs/2211.05778), table 1; MTP
(https://arxiv.org/abs/2403.13430) uses the largest size here.
"""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.backbone_utils import BackboneConfigMixin

from .configuration_checks import reject_unknown_keys


@strict
class InternImageConfig(BackboneConfigMixin, PreTrainedConfig):
    """Describe a hierarchy of deformable convolutions.

    Args:
        embed_dim: channels of the first stage; every other stage has twice those before it.
        depths: layers of each stage.
        num_groups: groups of each stage, which move their taps each in their own way.
        mlp_ratio: hidden width of the MLP over the channels.
        post_norm: normalise what a branch adds instead of what it reads; without it, stages end
            with a norm.
        layer_scale_init_value: initial factor on what a branch adds, one for each channel; None for
            no factor.
        offset_scale: distance of the taps in pixels, and the unit in which they are moved.
        drop_path_rate: stochastic depth of the last layer, linear from 0 at the first.
        layer_norm_eps: epsilon of every layer norm.
        initializer_range: standard deviation of the linear layers of the MLPs.
        num_channels: channels of the image.
        image_size: side in pixels of the images it learns from; nothing is made for it, and any
            other input size works as well.
        out_indices: stages of the maps, stem = 0; by default all stages.
        out_features: the same by name, `stage1` being the first after the stem.
    """

    model_type = "mtp_internimage"

    embed_dim: int = 192
    depths: list[int] | tuple[int, ...] = (5, 5, 24, 5)
    num_groups: list[int] | tuple[int, ...] = (12, 24, 48, 96)
    mlp_ratio: float | int = 4
    post_norm: bool = True
    layer_scale_init_value: float | int | None = 1e-5
    offset_scale: float | int = 2.0
    drop_path_rate: float | int = 0.2
    layer_norm_eps: float | int = 1e-6
    initializer_range: float | int = 0.02
    num_channels: int = 3
    image_size: int = 224
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Name the stages and choose all of them as output."""
        self.stage_names = ["stem"] + [f"stage{i + 1}" for i in range(len(self.depths))]
        out_indices = kwargs.pop("out_indices", None)
        out_features = kwargs.pop("out_features", None)
        if out_indices is None and out_features is None:
            out_indices = list(range(1, len(self.depths) + 1))
        self.set_output_features_output_indices(out_features, out_indices)
        kwargs.pop("stage_names", None)  # written by transformers, derived here
        reject_unknown_keys(self, kwargs)
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Check the fields against each other.

        Raises:
            ValueError: lists of different length, empty stages, or widths that do not divide.
        """
        super().validate_architecture()
        if len(self.num_groups) != len(self.depths):
            raise ValueError(
                f"num_groups {list(self.num_groups)} and depths {list(self.depths)} do not have "
                "the same number of stages"
            )
        if not self.depths or min(self.depths) < 1:
            raise ValueError(f"depths {list(self.depths)} has a stage without layers")
        if self.embed_dim < 2 or self.embed_dim % 2:
            raise ValueError(
                f"embed_dim {self.embed_dim} is not even; the stem begins with half of it"
            )
        for channels, groups in zip(self.hidden_sizes, self.num_groups, strict=True):
            if groups < 1 or channels % groups:
                raise ValueError(
                    f"num_groups {list(self.num_groups)} do not divide the channels "
                    f"{self.hidden_sizes}"
                )

    @property
    def hidden_sizes(self) -> list[int]:
        """Channels of each stage, without the stem."""
        return [self.embed_dim * 2**stage for stage in range(len(self.depths))]

    @property
    def map_strides(self) -> list[int]:
        """Strides of the feature maps in pixels, one per map."""
        return [4 * 2 ** max(stage - 1, 0) for stage in self.out_indices]


# Published sizes; `tiny` is for tests and demonstrations. 448 is the size MTP pretrains XL at.
INTERNIMAGE_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 32, "depths": [1, 1, 2, 1], "num_groups": [2, 4, 8, 16]},
    "T": {
        "embed_dim": 64,
        "depths": [4, 4, 18, 4],
        "num_groups": [4, 8, 16, 32],
        "post_norm": False,
        "layer_scale_init_value": None,
        "offset_scale": 1.0,
    },
    "S": {
        "embed_dim": 80,
        "depths": [4, 4, 21, 4],
        "num_groups": [5, 10, 20, 40],
        "offset_scale": 1.0,
    },
    "B": {
        "embed_dim": 112,
        "depths": [4, 4, 21, 4],
        "num_groups": [7, 14, 28, 56],
        "offset_scale": 1.0,
    },
    "L": {"embed_dim": 160, "depths": [5, 5, 22, 5], "num_groups": [10, 20, 40, 80]},
    "XL": {
        "embed_dim": 192,
        "depths": [5, 5, 24, 5],
        "num_groups": [12, 24, 48, 96],
        "image_size": 448,
    },
}

AutoConfig.register(InternImageConfig.model_type, InternImageConfig, exist_ok=True)
