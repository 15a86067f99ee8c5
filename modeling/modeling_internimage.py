"""InternImage, a hierarchy of deformable convolutions, the largest backbone of MTP.

A layer is a transformer block whose attention is `DeformableConvV3`: every group of channels reads
nine taps around a pixel, moved and weighted by what a depthwise convolution sees there. The places
of the taps and their sum are in `ops_dcnv3`.

Letters: B batch, C channels, H W map, G groups.

Unusual: inside a stage maps are channels-last, (B, H, W, C). Between stages they are (B, C, H, W)
in the same memory. Any input size works, as in the original: maps have ceil(side / stride) pixels.

Source: InternImage (https://arxiv.org/abs/2211.05778), section 3; MTP
(https://arxiv.org/abs/2403.13430); matches `intern_image.py` and `ops_dcnv3` of the original.
"""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import StochasticDepth
from transformers import AutoBackbone, AutoModel, AutoModelForImageClassification, PreTrainedModel
from transformers import initialization as init
from transformers.backbone_utils import BackboneMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BackboneOutput,
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
)
from transformers.utils import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from .configuration_internimage import InternImageConfig
from .ops_dcnv3 import TapGrid, sample_taps


class TapLinear(nn.Linear):
    """Starts at zero, so that the taps start as a plain mean."""


class ProjectionLinear(nn.Linear):
    """Starts as Xavier says."""


class DeformableConvV3(nn.Module):
    """Mix nine moved taps of each group; equation 2 of InternImage."""

    def __init__(self, config: InternImageConfig, channels: int, num_groups: int) -> None:
        super().__init__()
        self.grid = TapGrid(offset_scale=float(config.offset_scale))
        self.num_groups = num_groups
        taps = num_groups * self.grid.num_taps
        self.depthwise_conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.depthwise_norm = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.offset = TapLinear(channels, 2 * taps)
        self.mask = TapLinear(channels, taps)
        self.input_proj = ProjectionLinear(channels, channels)
        self.output_proj = ProjectionLinear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, H, W, C); the same shape comes out."""
        local = self.depthwise_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        local = F.gelu(self.depthwise_norm(local))
        # Float32, like all geometry: the sum of nine rounded weights would not be one.
        mask = self.mask(local).unflatten(-1, (self.num_groups, -1)).softmax(-1, torch.float32)
        sums = sample_taps(self.input_proj(x), self.offset(local), mask.flatten(-2), self.grid)
        return self.output_proj(sums)


class InternImageMlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, config: InternImageConfig, channels: int) -> None:
        super().__init__()
        width = int(channels * config.mlp_ratio)
        self.fc1 = nn.Linear(channels, width)
        self.fc2 = nn.Linear(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, H, W, C) transformed pixel by pixel."""
        return self.fc2(F.gelu(self.fc1(x)))


class InternImageLayer(GradientCheckpointingLayer):
    """Deformable convolution and MLP, both residual."""

    def __init__(self, config: InternImageConfig, stage: int, drop_rate: float) -> None:
        super().__init__()
        channels = config.hidden_sizes[stage]
        self.post_norm = config.post_norm
        self.norm1 = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.dcn = DeformableConvV3(config, channels, config.num_groups[stage])
        self.norm2 = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.mlp = InternImageMlp(config, channels)
        self.drop_path = StochasticDepth(drop_rate, mode="row")
        has_scale = config.layer_scale_init_value is not None
        self.layer_scale1 = nn.Parameter(torch.ones(channels)) if has_scale else None
        self.layer_scale2 = nn.Parameter(torch.ones(channels)) if has_scale else None

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, H, W, C) after both branches."""
        x = x + self._branch(x, self.dcn, self.norm1, self.layer_scale1)
        return x + self._branch(x, self.mlp, self.norm2, self.layer_scale2)

    def _branch(self, x: Tensor, mix: nn.Module, norm: nn.Module, scale: Tensor | None) -> Tensor:
        added = norm(mix(x)) if self.post_norm else mix(norm(x))
        return self.drop_path(added if scale is None else scale * added)


class InternImageEmbeddings(nn.Module):
    """The stem: two convolutions of stride 2."""

    def __init__(self, config: InternImageConfig) -> None:
        super().__init__()
        channels = config.embed_dim
        self.conv1 = nn.Conv2d(config.num_channels, channels // 2, 3, stride=2, padding=1)
        self.norm1 = nn.LayerNorm(channels // 2, eps=config.layer_norm_eps)
        self.conv2 = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)
        self.norm2 = nn.LayerNorm(channels, eps=config.layer_norm_eps)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Embed images (B, 3, height, width) as (B, C, ceil(height / 4), ceil(width / 4))."""
        x = self.conv1(pixel_values.to(self.conv1.weight.dtype))
        x = F.gelu(_norm_channels(x, self.norm1))
        return _norm_channels(self.conv2(x), self.norm2)


class InternImageDownsampling(nn.Module):
    """Halve the map and double the channels."""

    def __init__(self, config: InternImageConfig, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(2 * channels, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, H, W) to (B, 2C, ceil(H / 2), ceil(W / 2))."""
        return _norm_channels(self.conv(x), self.norm)


def _norm_channels(x: Tensor, norm: nn.Module) -> Tensor:
    """Normalise x (B, C, H, W) over its channels."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class InternImageStage(nn.Module):
    """Layers of one map size, after the downsampling that leads to it."""

    def __init__(self, config: InternImageConfig, stage: int, drop_rates: list[float]) -> None:
        super().__init__()
        channels = config.hidden_sizes[stage]
        self.downsample = InternImageDownsampling(config, channels // 2) if stage else nn.Identity()
        self.layers = nn.ModuleList(InternImageLayer(config, stage, rate) for rate in drop_rates)
        self.norm = (
            nn.Identity() if config.post_norm else nn.LayerNorm(channels, eps=config.layer_norm_eps)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) of the stage before to the map of this stage."""
        x = self.downsample(x).permute(0, 2, 3, 1)  # -> (B, H, W, C)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x).permute(0, 3, 1, 2)  # -> (B, C, H, W)


class InternImagePreTrainedModel(PreTrainedModel):
    """Initialisation and loading of everything built on InternImage."""

    config: InternImageConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    # There is no attention, so that a task model may ask for any of its own.
    _supports_sdpa = True
    _no_split_modules = ["InternImageLayer"]
    _can_record_outputs = {"hidden_states": InternImageStage}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights of one module; loaded ones stay.

        Transformers asks for modules with parameters of their own only, so how a layer starts has
        to be told from the layer.
        """
        if isinstance(module, nn.Linear):
            if isinstance(module, TapLinear):
                init.zeros_(module.weight)
            elif isinstance(module, ProjectionLinear):
                init.xavier_uniform_(module.weight)
            elif isinstance(module, ClassifierLinear):
                init.normal_(module.weight, std=0.01)
            else:
                init.trunc_normal_(module.weight, std=self.config.initializer_range)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):  # as PyTorch itself does
            bound = module.weight[0].numel() ** -0.5
            for parameter in module.parameters():
                init.uniform_(parameter, -bound, bound)
        elif isinstance(module, InternImageLayer):
            for scale in (module.layer_scale1, module.layer_scale2):
                if scale is not None:
                    init.constant_(scale, float(self.config.layer_scale_init_value or 0))


class InternImageEncoder(InternImagePreTrainedModel):
    """Stem and stages, under the same parameter names in the model and in the backbone."""

    def __init__(self, config: InternImageConfig) -> None:
        super().__init__(config)
        self.embeddings = InternImageEmbeddings(config)
        last = max(self.num_layers - 1, 1)
        rates = [config.drop_path_rate * index / last for index in range(self.num_layers)]
        self.stages = nn.ModuleList(
            InternImageStage(config, stage, [rates.pop(0) for _ in range(depth)])
            for stage, depth in enumerate(config.depths)
        )

    @property
    def num_layers(self) -> int:
        """Number of layers of all stages; `layer_id` runs from 0 to `num_layers` + 1."""
        return sum(self.config.depths)

    def layer_id(self, parameter_name: str) -> int:
        """Return the depth of a parameter, for a learning rate that decays layer by layer.

        Returns:
            0 for the stem, i + 1 for layer i counted through all stages, the next layer's for a
            downsampling, the last layer's for the norm of a stage, `num_layers` + 1 for everything
            else; names may begin with `backbone.`.
        """
        name = parameter_name.removeprefix("backbone.")
        if name.startswith("embeddings."):
            return 0
        part = re.match(r"stages\.(\d+)\.(?:(downsample|norm)|layers\.(\d+))\.", name)
        if part is None:
            return self.num_layers + 1
        before = sum(self.config.depths[: int(part[1])])
        inside = {"downsample": 0, "norm": self.config.depths[int(part[1])] - 1}
        return before + 1 + (inside[part[2]] if part[2] else int(part[3]))


class InternImageModel(InternImageEncoder):
    """The map of the last stage and its mean."""

    def __init__(self, config: InternImageConfig) -> None:
        super().__init__(config)
        self.post_init()

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPoolingAndNoAttention:
        """Encode images (B, 3, height, width) of any size.

        Returns:
            `last_hidden_state` (B, C, H, W) of the last stage, stride 32, without further norm, and
            its mean over the map, `pooler_output` (B, C).
        """
        x = self.embeddings(pixel_values)
        for stage in self.stages:
            x = stage(x)
        return BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=x, pooler_output=x.mean((2, 3))
        )


class InternImageBackbone(BackboneMixin, InternImageEncoder):
    """Feature maps for dense tasks, one for each chosen stage."""

    def __init__(self, config: InternImageConfig) -> None:
        super().__init__(config)
        self.num_features = [config.embed_dim, *config.hidden_sizes]
        self.post_init()

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: Tensor, **_: Any) -> BackboneOutput:
        """Compute the maps of images (B, 3, height, width) of any size.

        Returns:
            `feature_maps`: (B, C, ceil(height / stride), ceil(width / stride)) for each stage.
        """
        x = self.embeddings(pixel_values)
        maps = {"stem": x}
        for name, stage in zip(self.stage_names[1:], self.stages, strict=True):
            x = stage(x)
            maps[name] = x
        return BackboneOutput(feature_maps=tuple(maps[name] for name in self.out_features))


class ClassifierLinear(nn.Linear):
    """Starts small."""


class InternImageForImageClassification(InternImagePreTrainedModel):
    """A linear layer on the mean of the last map.

    Differs: the classifier of the checkpoints that were trained on ImageNet has one layer more; the
    original leaves it out in finetuning, and so do we.
    """

    accepts_loss_kwargs = False

    def __init__(self, config: InternImageConfig) -> None:
        super().__init__(config)
        self.backbone = InternImageModel(config)
        assert config.num_labels is not None  # transformers sets two by default
        self.classifier = ClassifierLinear(config.hidden_sizes[-1], config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: Tensor, labels: Tensor | None = None, **kwargs: Any
    ) -> ImageClassifierOutputWithNoAttention:
        """Classify images (B, 3, height, width).

        Args:
            pixel_values: normalised images.
            labels: (B,) int64; with them, the mean cross entropy is the loss.
            kwargs: what transformers passes on, such as `output_hidden_states`.

        Returns:
            `logits` (B, K), and `loss` with labels.
        """
        outputs = self.backbone(pixel_values, **kwargs)
        logits = self.classifier(outputs.pooler_output)
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return ImageClassifierOutputWithNoAttention(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states
        )


AutoModel.register(InternImageConfig, InternImageModel, exist_ok=True)
AutoBackbone.register(InternImageConfig, InternImageBackbone, exist_ok=True)
AutoModelForImageClassification.register(
    InternImageConfig, InternImageForImageClassification, exist_ok=True
)
