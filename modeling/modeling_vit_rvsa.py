"""ViT + RVSA, the plain vision transformer backbone of MTP.

Most blocks attend inside 7 x 7 windows whose keys and values are read from a window that each head
moves, scales and turns (`RotatedVariedSizeWindowAttention`); every third (ViT-B) or sixth (ViT-L)
block attends to the whole grid (`FullAttention`). The two differ in one more place: the relative
positions see the unscaled query in windows, the scaled one in full attention.

Letters: B batch, C channels, M heads, D head size, H W token grid, N = H W tokens, s = 7 side of a
window, P windows of an image. `grid` is (H, W) in tokens.

Unusual: any input size works. The image is padded with zeros, right and bottom, to whole patches;
the position tables are interpolated; the maps are cropped back. At the native size the numbers are
those of the original.

Source: MTP (https://arxiv.org/abs/2403.13430); RVSA (https://arxiv.org/abs/2208.03987), section
III-C; matches `vit_win_rvsa_v3_wsz7.py` and `vit_rvsa_mtp*.py` of the original.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.ops import StochasticDepth
from transformers import AutoBackbone, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.backbone_utils import BackboneMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BackboneOutput, BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.output_capturing import capture_outputs

from .configuration_vit_rvsa import ViTRVSAConfig
from .neck_plain_pyramid import PlainPyramid
from .ops_position_tables import (
    relative_position_terms,
    resize_position_embedding,
    resize_rel_pos,
    window_position_bias,
)
from .ops_windows import cut_windows, join_windows, sample_tokens, window_padding

# Elements of the position bias that full attention makes at a time; the whole of it is what would
# limit the image size. A CPU is a third faster where they (16 MiB in float32) stay near the cache.
MAX_BIAS_ELEMENTS = {"cpu": 2**22, "cuda": 2**25}


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Attend with the weights written out, the twin of `scaled_dot_product_attention`."""
    logits = query @ key.transpose(-2, -1) * scaling
    if attention_mask is not None:
        logits = logits + attention_mask
    weights = logits.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    return (weights @ value).transpose(1, 2), weights


class ResidualLinear(nn.Linear):
    """Last layer of a residual branch; its initial weights shrink with its depth, from 1 on."""

    def __init__(self, in_features: int, out_features: int, depth: int) -> None:
        super().__init__(in_features, out_features)
        self.depth = depth


class MultiHeadAttention(nn.Module):
    """What both kinds of attention share: the two projections and the choice of the kernel."""

    is_causal = False

    def __init__(self, config: ViTRVSAConfig, depth: int = 1) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_size = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = ResidualLinear(config.hidden_size, config.hidden_size, depth)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Mix the values (B, M, N, D), with a bias (B, M, N, N) on the scaled logits.

        Returns:
            (B, N, M, D), and the weights (B, M, N, N) of the eager implementation or None.
        """
        kind = self.config._attn_implementation
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(kind, eager_attention)
        return attention(self, query, key, value, bias, scaling=self.scaling)


class FullAttention(MultiHeadAttention):
    """Attend to all tokens, with relative positions split into rows and columns."""

    def __init__(self, config: ViTRVSAConfig, depth: int = 1) -> None:
        super().__init__(config, depth)
        self.use_rel_pos = config.use_full_attention_rel_pos
        if self.use_rel_pos:
            # Kept: one length for both tables; grids that are not square interpolate each.
            length = 2 * (config.image_size // config.patch_size) - 1
            self.rel_pos_h = nn.Parameter(torch.zeros(length, self.head_size))
            self.rel_pos_w = nn.Parameter(torch.zeros(length, self.head_size))

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """Attend over x (B, N, C); return the same shape and the weights (B, M, N, N), if eager."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_size))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, N, 3, M, D) -> (B, M, N, D)
        if self.use_rel_pos:
            mixed, weights = self.attend_by_strips(query, key, value, grid)
        else:
            mixed, weights = self.attend(query, key, value, None)
        return self.proj(mixed.flatten(2)), weights

    def attend_by_strips(
        self, query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor | None]:
        """Attend with relative positions; arguments and result as in `attend`."""
        (height, width), (batch, heads, tokens, _) = grid, query.shape
        # Kept: the query of the relative term is scaled here, but not in windows.
        by_row, by_column = relative_position_terms(
            (query * self.scaling).reshape(-1, height, width, self.head_size),
            resize_rel_pos(self.rel_pos_h, 2 * height - 1),
            resize_rel_pos(self.rel_pos_w, 2 * width - 1),
        )  # (BM, H, W, H), (BM, H, W, W)
        most = MAX_BIAS_ELEMENTS.get(query.device.type, 2**25)
        strip = max(most // (batch * heads * width * tokens), 1)
        mixed, weights = [], []
        for first in range(0, height, strip):
            rows = slice(first, first + strip)
            bias = by_row[:, rows, :, :, None] + by_column[:, rows, :, None, :]
            bias = bias.reshape(batch, heads, -1, tokens)  # (BM, strip, W, H, W) -> (B, M, ., N)
            queries = query[:, :, first * width : (first + strip) * width]
            part, part_weights = self.attend(queries, key, value, bias)
            mixed.append(part)
            if part_weights is not None:
                weights.append(part_weights)
        return torch.cat(mixed, 1), torch.cat(weights, 2) if weights else None


class RotatedVariedSizeWindowAttention(MultiHeadAttention):
    """Attend from 7 x 7 windows to keys and values read from a moved, scaled and turned window.

    Each head predicts offset, scale and angle of its window from the mean of the query window.
    """

    def __init__(self, config: ViTRVSAConfig, depth: int = 1) -> None:
        super().__init__(config, depth)
        self.window_size = config.window_size
        distances = 2 * config.window_size - 1
        self.rel_pos_h = nn.Parameter(torch.zeros(distances, self.head_size))
        self.rel_pos_w = nn.Parameter(torch.zeros(distances, self.head_size))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(distances**2, self.num_heads))
        self.sampling_offsets = nn.Conv2d(config.hidden_size, 2 * self.num_heads, 1)
        self.sampling_scales = nn.Conv2d(config.hidden_size, 2 * self.num_heads, 1)
        self.sampling_angles = nn.Conv2d(config.hidden_size, self.num_heads, 1)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """Attend over x (B, N, C); return the same and the weights (BP, M, ss, ss), if eager."""
        channels, side = x.shape[-1], self.window_size
        x_map = x.unflatten(1, grid)
        query, keys_values = self.qkv(x_map).split((channels, 2 * channels), -1)
        query = cut_windows(query, side).unflatten(-1, (self.num_heads, self.head_size))
        query = query.permute(0, 1, 3, 5, 2, 4, 6)  # -> (B, rows, columns, M, s, s, D)
        query = query.flatten(4, 5).flatten(0, 2)  # -> (BP, M, ss, D)
        points = self.sampling_points(cut_windows(x_map, side), grid)
        key, value = self.sample(keys_values, *points)
        bias = window_position_bias(
            query,  # Kept: not scaled here, but scaled in full attention.
            self.rel_pos_h,
            self.rel_pos_w,
            self.relative_position_bias_table,
            side,
        )
        mixed, weights = self.attend(query, key, value, bias)
        return self.proj(join_windows(mixed.flatten(2), grid, side)), weights

    def sampling_points(self, windows: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Predict where each head reads its keys and values.

        Args:
            windows: padded tokens (B, rows, s, columns, s, C).
            grid: the grid before padding.

        Returns:
            x and y of every place, each (B, rows, columns, M, s, s) float32, in tokens of the grid;
            0 is the centre of the first token.
        """
        batch, rows, side, columns, _, channels = windows.shape
        width, height = columns * side - 1, rows * side - 1  # between the centres of the outermost
        means = windows.sum(2).sum(3) / side**2  # (B, rows, columns, C), the padding counts
        means = F.leaky_relu(means).reshape(-1, channels, 1, 1)
        shape = (batch, rows, columns, self.num_heads, -1, 1, 1)
        # Geometry is float32: half precision cannot tell apart the neighbours of a large grid.
        offset_x, offset_y = self.sampling_offsets(means).float().view(shape).unbind(4)
        scale_x, scale_y = (self.sampling_scales(means).float().view(shape) + 1).unbind(4)
        angle = self.sampling_angles(means).float().view(shape).squeeze(4)

        # In the padded grid, -1 to 1 from the first to the last token.
        step = torch.arange(side, device=windows.device) - side // 2
        center_x = torch.arange(side // 2, columns * side, side, device=step.device) * 2 / width - 1
        center_y = torch.arange(side // 2, rows * side, side, device=step.device) * 2 / height - 1
        local_x = scale_x * (2 * step / width)  # (B, rows, columns, M, 1, s)
        local_y = scale_y * (2 * step / height)[:, None]  # (B, rows, columns, M, s, 1)
        # Kept: the turn is in normalised coordinates, so grids that are not square are sheared.
        sin, cos = angle.sin(), angle.cos()
        x = center_x.view(-1, 1, 1, 1) + local_x * cos - local_y * sin
        y = center_y.view(-1, 1, 1, 1, 1) + local_x * sin + local_y * cos
        # Kept: x is divided by the whole windows of the unpadded height, y by those of the width.
        x, y = x + offset_x / (grid[0] // side), y + offset_y / (grid[1] // side)
        top, left = (window_padding(length, side)[0] for length in grid)
        return (x + 1) / 2 * width - left, (y + 1) / 2 * height - top

    def sample(self, keys_values: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Read keys (BP, M, ss, D) and values, likewise, of all heads at once.

        Kept: places outside the grid read zeros, not the bias of the projection, and count.

        Args:
            keys_values: (B, H, W, 2 C).
            x: (B, rows, columns, M, s, s), like y.
            y: see x.
        """
        tokens = keys_values.unflatten(-1, (2, self.num_heads, self.head_size))
        tokens = tokens.transpose(3, 4).flatten(4)  # (B, H, W, 2, M, D) -> (B, H, W, M, 2D)
        x, y = (places.flatten(4).flatten(1, 2) for places in (x, y))  # -> (B, P, M, ss)
        key, value = sample_tokens(tokens, x, y).flatten(0, 1).split(self.head_size, -1)
        return key, value


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, config: ViTRVSAConfig, depth: int) -> None:
        super().__init__()
        width = int(config.hidden_size * config.mlp_ratio)
        self.fc1 = nn.Linear(config.hidden_size, width)
        self.fc2 = ResidualLinear(width, config.hidden_size, depth)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, N, C) transformed token by token."""
        return self.fc2(F.gelu(self.fc1(x)))


class ViTRVSABlock(GradientCheckpointingLayer):
    """Pre-norm transformer block, global every `full_attention_interval` blocks."""

    def __init__(self, config: ViTRVSAConfig, index: int) -> None:
        super().__init__()
        is_full = (index + 1) % config.full_attention_interval == 0
        attention = FullAttention if is_full else RotatedVariedSizeWindowAttention
        drop_rate = config.drop_path_rate * index / max(config.num_hidden_layers - 1, 1)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = attention(config, index + 1)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Mlp(config, index + 1)
        self.drop_path = StochasticDepth(drop_rate, mode="row")

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return x (B, N, C) after attention and MLP, both residual."""
        mixed, _ = self.attention(self.norm1(x), grid)
        x = x + self.drop_path(mixed)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ViTRVSAEmbeddings(nn.Module):
    """Cut the image into patches, project them and add the position table."""

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.window_size = config.window_size
        self.patch_embeddings = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, config.patch_size
        )
        side = config.image_size // config.patch_size
        self.position_embeddings = nn.Parameter(torch.zeros(1, side**2, config.hidden_size))

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images (B, 3, height, width) of any size.

        Returns:
            Tokens (B, N, C) and the grid (H, W), which counts started patches.

        Raises:
            ValueError: the grid is smaller than a window, where offsets would divide by zero.
        """
        (height, width), size = pixel_values.shape[-2:], self.patch_size
        if min(height, width) <= (self.window_size - 1) * size:
            raise ValueError(
                f"an image of {height} x {width} pixels has less than {self.window_size} tokens on "
                f"a side; it needs {(self.window_size - 1) * size + 1} pixels or more"
            )
        padded = F.pad(pixel_values, (0, -width % size, 0, -height % size))
        x = self.patch_embeddings(padded.to(self.patch_embeddings.weight.dtype))
        grid = (x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, HW, C)
        return x + resize_position_embedding(self.position_embeddings, grid), grid


class ViTRVSAPreTrainedModel(PreTrainedModel):
    """Initialisation and loading of everything built on ViT + RVSA."""

    config: ViTRVSAConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["ViTRVSABlock"]
    _supports_sdpa = True
    _can_record_outputs = {"hidden_states": ViTRVSABlock, "attentions": MultiHeadAttention}
    _input_embed_layer = "patch_embeddings"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights of one module that has parameters of its own; loaded ones stay."""
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            depth = module.depth if isinstance(module, ResidualLinear) else 0.5
            init.trunc_normal_(module.weight, std=std / math.sqrt(2 * depth))
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):  # as PyTorch itself does
            bound = module.weight[0].numel() ** -0.5
            for parameter in module.parameters():
                init.uniform_(parameter, -bound, bound)
        elif isinstance(module, ViTRVSAEmbeddings):
            init.trunc_normal_(module.position_embeddings, std=std)
        elif isinstance(module, FullAttention) and module.use_rel_pos:
            init.zeros_(module.rel_pos_h)
            init.zeros_(module.rel_pos_w)
        elif isinstance(module, RotatedVariedSizeWindowAttention):
            self._init_window_attention(module)

    def _init_window_attention(self, module: RotatedVariedSizeWindowAttention) -> None:
        """Start without decomposed positions, and with windows in place if so configured."""
        init.zeros_(module.rel_pos_h)
        init.zeros_(module.rel_pos_w)
        init.trunc_normal_(module.relative_position_bias_table, std=self.config.initializer_range)
        if self.config.zero_init_sampling:
            for layer in (module.sampling_offsets, module.sampling_scales, module.sampling_angles):
                for parameter in layer.parameters():
                    init.zeros_(parameter)


class ViTRVSAEncoder(ViTRVSAPreTrainedModel):
    """The blocks, under the same parameter names in the model and in the backbone."""

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__(config)
        self.embeddings = ViTRVSAEmbeddings(config)
        self.layers = nn.ModuleList(
            ViTRVSABlock(config, index) for index in range(config.num_hidden_layers)
        )
        # Differs: the original also keeps a final norm where it never applies it.
        self.norm = (
            nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
            if config.feature_variant == "last_layer_pyramid"
            else nn.Identity()
        )

    @property
    def num_layers(self) -> int:
        """Number of blocks; `layer_id` runs from 0 to `num_layers` + 1."""
        return self.config.num_hidden_layers

    def layer_id(self, parameter_name: str) -> int:
        """Return the depth of a parameter, for a learning rate that decays layer by layer.

        Returns:
            0 for the embeddings, i + 1 for block i, `num_layers` + 1 for everything else; names may
            begin with `backbone.`.
        """
        name = parameter_name.removeprefix("backbone.")
        if name.startswith("embeddings."):
            return 0
        block = re.match(r"layers\.(\d+)\.", name)
        return int(block[1]) + 1 if block else self.num_layers + 1


class ViTRVSAModel(ViTRVSAEncoder):
    """The last block's tokens (normalised in `last_layer_pyramid`); loads without the pyramid."""

    _keys_to_ignore_on_load_unexpected = [r"^pyramid\."]

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__(config)
        self.post_init()

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
        """Encode images (B, 3, height, width) into tokens (B, N, C), one per started patch."""
        x, grid = self.embeddings(pixel_values)
        for layer in self.layers:
            x = layer(x, grid)
        return BaseModelOutput(last_hidden_state=self.norm(x))


class ViTRVSABackbone(BackboneMixin, ViTRVSAEncoder):
    """Feature maps for dense tasks, chosen by `config.feature_variant`."""

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__(config)
        self.num_features = [config.hidden_size] * (config.num_hidden_layers + 1)
        if config.feature_variant != "multi_depth":
            self.pyramid = PlainPyramid(config.hidden_size, config.layer_norm_eps)
        self.post_init()

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: Tensor, **_: Any) -> BackboneOutput:
        """Compute the maps of images (B, 3, height, width) of any size from 97 pixels up.

        Returns:
            `feature_maps`: (B, C, ceil(height / stride), ceil(width / stride)) for each stage.
            Kept: on an odd grid the coarsest map of a pyramid may be one row or column shorter.
        """
        x, grid = self.embeddings(pixel_values)
        stages = {"stem": x}
        for name, layer in zip(self.stage_names[1:], self.layers, strict=True):
            x = layer(x, grid)
            if name in self.out_features:
                stages[name] = x
        if self.config.feature_variant == "last_layer_pyramid":
            stages = dict.fromkeys(self.out_features, self.norm(x))
        tokens = [stages[name] for name in self.out_features]
        maps = [t.transpose(1, 2).unflatten(2, grid) for t in tokens]  # (B, N, C) -> (B, C, H, W)
        if self.config.feature_variant != "multi_depth":
            maps = self.pyramid(maps)
        height, width = pixel_values.shape[-2:]
        cropped = (
            m[..., : -(-height // stride), : -(-width // stride)]
            for m, stride in zip(maps, self.config.map_strides, strict=True)
        )
        return BackboneOutput(feature_maps=tuple(cropped))


AutoModel.register(ViTRVSAConfig, ViTRVSAModel, exist_ok=True)
AutoBackbone.register(ViTRVSAConfig, ViTRVSABackbone, exist_ok=True)
