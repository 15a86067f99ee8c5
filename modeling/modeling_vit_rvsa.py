"""ViT + RVSA, the plain vision transformer backbone of MTP.

Most blocks attend inside 7 x 7 windows whose keys and values are sampled from a window that each head moves,
scales and turns (`RotatedVariedSizeWindowAttention`); every third (ViT-B) or sixth (ViT-L) block attends to the
whole grid (`FullAttention`). The two differ in one more place: the relative positions see the unscaled query in
windows, the scaled one in full attention.

Letters: B batch, C channels, M heads, D head size, H W token grid, N = H W tokens, S side of the native grid,
s = 7 window side, P windows per image. `grid` is (H, W) in tokens.

Unusual: any input size works. The image is padded with zeros, right and bottom, to whole patches; the position
tables are interpolated; the maps are cropped back. At the native size the numbers are those of the original.

Source: MTP (https://arxiv.org/abs/2403.13430), RVSA (https://arxiv.org/abs/2208.03987), sections III-B and III-C;
matches `vit_win_rvsa_v3_wsz7.py` and `vit_rvsa_mtp*.py` of the original.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import AutoBackbone, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.backbone_utils import BackboneMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BackboneOutput, BaseModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.output_capturing import capture_outputs

from .configuration_vit_rvsa import ViTRVSAConfig


def resize_position_embedding(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Interpolate an absolute position table bicubically, without antialiasing.

    Args:
        table: (1, S * S, C), a square grid without class token.
        grid: rows and columns wanted.

    Returns:
        (1, H * W, C); the table itself where the grid is the same.
    """
    side = math.isqrt(table.shape[1])
    if grid == (side, side):
        return table
    image = table.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, S*S, C) -> (1, C, S, S)
    image = F.interpolate(image.float(), size=grid, mode="bicubic", align_corners=False)
    return image.flatten(2).transpose(1, 2).to(table.dtype)  # (1, C, H, W) -> (1, HW, C)


def resize_rel_pos(table: Tensor, length: int) -> Tensor:
    """Interpolate a relative position table (2S - 1, D) to (length, D) as a bicubic image."""
    if table.shape[0] == length:
        return table
    size = (length, table.shape[1])
    image = table[None, None].float()  # (2S-1, D) -> (1, 1, 2S-1, D)
    return F.interpolate(image, size=size, mode="bicubic", align_corners=False)[0, 0].to(
        table.dtype
    )


def relative_position_terms(
    query: Tensor, table_h: Tensor, table_w: Tensor
) -> tuple[Tensor, Tensor]:
    """Multiply each query with the table rows of its distance to every key row and key column.

    Args:
        query: (B, H, W, D).
        table_h: (2H - 1, D), row r is the distance r - (H - 1) of the query from the key.
        table_w: (2W - 1, D).

    Returns:
        (B, H, W, H) over key rows and (B, H, W, W) over key columns.
    """
    rows = torch.arange(query.shape[1], device=query.device)
    columns = torch.arange(query.shape[2], device=query.device)
    by_row = table_h[rows[:, None] - rows + len(rows) - 1]  # (H, H, D)
    by_column = table_w[columns[:, None] - columns + len(columns) - 1]  # (W, W, D)
    return (
        torch.einsum("bhwd,hkd->bhwk", query, by_row),
        torch.einsum("bhwd,wkd->bhwk", query, by_column),
    )


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
    """Attend with the weights written out: the twin of `scaled_dot_product_attention`.

    Returns:
        Mixed values (B, N, M, D) and weights (B, M, N, N).
    """
    logits = query @ key.transpose(-2, -1) * scaling
    if attention_mask is not None:
        logits = logits + attention_mask
    weights = logits.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    return (weights @ value).transpose(1, 2), weights


class DropPath(nn.Module):
    """Drop the branch of a residual block for whole samples, and scale up those that keep it."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, N, C) with dropped samples set to zero, in training only."""
        if self.rate == 0 or not self.training:
            return x
        keep = 1 - self.rate
        return x * x.new_empty(x.shape[0], 1, 1).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Show the rate when the model is printed."""
        return f"rate={self.rate:.3f}"


class MultiHeadAttention(nn.Module):
    """What both kinds of attention share: the two projections and the choice of the kernel."""

    is_causal = False

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__()
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_size = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Mix the values.

        Args:
            query: (B, M, N, D), like key and value.
            key: see query.
            value: see query.
            bias: (B, M, N, N), added to the scaled logits.

        Returns:
            (B, N, M, D), and the weights (B, M, N, N) of the eager implementation or None.
        """
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention
        )
        return attention(self, query, key, value, bias, scaling=self.scaling)


class FullAttention(MultiHeadAttention):
    """Attend to all tokens, with relative positions split into rows and columns."""

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__(config)
        self.use_rel_pos = config.use_full_attention_rel_pos
        if self.use_rel_pos:
            length = 2 * (config.image_size // config.patch_size) - 1
            self.rel_pos_h = nn.Parameter(torch.zeros(length, self.head_size))
            self.rel_pos_w = nn.Parameter(torch.zeros(length, self.head_size))

    def relative_position_bias(self, query: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the additive bias (B, M, N, N) of queries (B, M, N, D)."""
        height, width = grid
        # Kept: the query of the relative term is scaled here, but not in windows.
        flat = (query * self.scaling).reshape(-1, height, width, self.head_size)
        by_row, by_column = relative_position_terms(
            flat,
            resize_rel_pos(self.rel_pos_h, 2 * height - 1),
            resize_rel_pos(self.rel_pos_w, 2 * width - 1),
        )
        bias = by_row[..., :, None] + by_column[..., None, :]  # (BM, H, W, H, W)
        return bias.reshape(*query.shape[:3], height * width)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """Attend over x (B, N, C); return the same shape and the weights, if eager."""
        batch, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_size)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(
            0
        )  # (B, N, 3, M, D) -> 3 (B, M, N, D)
        bias = self.relative_position_bias(query, grid) if self.use_rel_pos else None
        mixed, weights = self.attend(query, key, value, bias)
        return self.proj(mixed.reshape(batch, tokens, channels)), weights


class RotatedVariedSizeWindowAttention(MultiHeadAttention):
    """Attend from 7 x 7 windows to keys and values sampled from a moved, scaled and rotated window.

    Each head predicts offset, scale and angle of its sampling window from the mean token of the query window.
    """

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__(config)
        self.window_size = config.window_size
        distances = 2 * config.window_size - 1
        self.rel_pos_h = nn.Parameter(torch.zeros(distances, self.head_size))
        self.rel_pos_w = nn.Parameter(torch.zeros(distances, self.head_size))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(distances**2, self.num_heads))
        self.sampling_offsets = nn.Conv2d(config.hidden_size, 2 * self.num_heads, 1)
        self.sampling_scales = nn.Conv2d(config.hidden_size, 2 * self.num_heads, 1)
        self.sampling_angles = nn.Conv2d(config.hidden_size, self.num_heads, 1)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
        """Attend over x (B, N, C); return the same shape and the weights (B P, M, s s, s s), if eager."""
        batch, _, channels = x.shape
        (top, bottom), (left, right) = self.window_padding(grid)
        height, width = grid[0] + top + bottom, grid[1] + left + right
        pad = (0, 0, left, right, top, bottom)
        windows = (height // self.window_size, width // self.window_size)

        x_map = x.reshape(batch, *grid, channels)
        points = self.sampling_points(F.pad(x_map, pad), grid)
        # Kept: padding comes after the projection, so padded keys and values are zero (not the bias),
        # and they are not masked.
        qkv = F.pad(self.qkv(x_map), pad)
        query, keys_values = qkv.split((channels, 2 * channels), dim=-1)
        query = self.split_windows(query, windows)
        key, value = self.sample(keys_values, points)
        mixed, weights = self.attend(query, key, value, self.relative_position_bias(query))
        mixed = mixed.reshape(batch, *windows, self.window_size, self.window_size, channels)
        mixed = mixed.transpose(2, 3).reshape(batch, height, width, channels)
        mixed = mixed[:, top : top + grid[0], left : left + grid[1]].reshape(batch, -1, channels)
        return self.proj(mixed), weights

    def window_padding(self, grid: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the tokens to add before and after, for rows and for columns; the odd one goes after."""
        missing = [-side % self.window_size for side in grid]
        return [(m // 2, m - m // 2) for m in missing]

    def split_windows(self, x: Tensor, windows: tuple[int, int]) -> Tensor:
        """Cut (B, H, W, C) into (B P, M, s s, D)."""
        side = self.window_size
        x = x.reshape(
            x.shape[0], windows[0], side, windows[1], side, self.num_heads, self.head_size
        )
        x = x.permute(0, 1, 3, 5, 2, 4, 6)  # -> (B, rows, columns, M, s, s, D)
        return x.reshape(-1, self.num_heads, side**2, self.head_size)

    def sampling_points(self, x_map: Tensor, grid: tuple[int, int]) -> Tensor:
        """Predict where each head takes its keys and values.

        Args:
            x_map: padded tokens (B, H', W', C).
            grid: the grid before padding.

        Returns:
            x and y of every sample, (B M, P, s s, 2) float32; -1 and 1 are the centres of the outermost tokens
            of the padded grid.
        """
        side = self.window_size
        batch, height, width, channels = x_map.shape
        rows, columns = height // side, width // side
        # The mean counts the padding.
        means = x_map.reshape(batch, rows, side, columns, side, channels).mean((2, 4))
        means = F.leaky_relu(means).permute(
            0, 3, 1, 2
        )  # (B, rows, columns, C) -> (B, C, rows, columns)
        shape = (batch, self.num_heads, -1, rows, columns, 1, 1)
        # Geometry is float32: half precision cannot tell neighbouring tokens of a large grid apart.
        offset_x, offset_y = self.sampling_offsets(means).float().view(shape).unbind(2)
        scale_x, scale_y = (self.sampling_scales(means).float().view(shape) + 1).unbind(2)
        angle = self.sampling_angles(means).float().view(shape).squeeze(2)

        step = torch.arange(side, device=x_map.device) - side // 2
        local_x = scale_x * (2 * step / (width - 1))  # (B, M, rows, columns, 1, s)
        local_y = scale_y * (2 * step / (height - 1))[:, None]  # (B, M, rows, columns, s, 1)
        center_x = -1 + 2 * (side * torch.arange(columns, device=x_map.device) + side // 2) / (
            width - 1
        )
        center_y = -1 + 2 * (side * torch.arange(rows, device=x_map.device) + side // 2) / (
            height - 1
        )
        # Kept: x is divided by the whole windows of the unpadded height, y by those of the width.
        # Kept: the turn is in normalised coordinates, so a shear on grids that are not square.
        sin, cos = angle.sin(), angle.cos()
        x = center_x[:, None, None] + local_x * cos - local_y * sin + offset_x / (grid[0] // side)
        y = (
            center_y[:, None, None, None]
            + local_x * sin
            + local_y * cos
            + offset_y / (grid[1] // side)
        )
        return torch.stack((x, y), -1).reshape(-1, rows * columns, side**2, 2)

    def sample(self, keys_values: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Read keys and values bilinearly, zero outside the grid.

        Args:
            keys_values: (B, H', W', 2 C).
            points: (B M, P, s s, 2).

        Returns:
            Keys and values, each (B P, M, s s, D).
        """
        batch, height, width, _ = keys_values.shape
        maps = keys_values.reshape(batch, height, width, 2, self.num_heads, self.head_size)
        maps = maps.permute(0, 4, 3, 5, 1, 2).reshape(-1, 2 * self.head_size, height, width)
        sampled = F.grid_sample(
            maps.float(), points, mode="bilinear", padding_mode="zeros", align_corners=True
        )  # (BM, 2D, P, ss)
        sampled = sampled.to(maps.dtype).reshape(
            batch, self.num_heads, 2, self.head_size, *points.shape[1:3]
        )
        sampled = sampled.permute(2, 0, 4, 1, 5, 3).flatten(1, 2)  # -> (2, BP, M, ss, D)
        key, value = sampled.unbind(0)
        return key, value

    def relative_position_bias(self, query: Tensor) -> Tensor:
        """Return the sum of both relative terms, (B P, M, s s, s s), of queries (B P, M, s s, D)."""
        side = self.window_size
        # Kept: the query of the relative term is not scaled here, but is in full attention.
        by_row, by_column = relative_position_terms(
            query.reshape(-1, side, side, self.head_size), self.rel_pos_h, self.rel_pos_w
        )
        bias = (by_row[..., :, None] + by_column[..., None, :]).reshape(*query.shape[:3], side**2)
        step = torch.arange(side, device=query.device)
        distance = step[:, None] - step + side - 1  # (s, s)
        index = distance[:, None, :, None] * (2 * side - 1) + distance[None, :, None, :]
        table = self.relative_position_bias_table[index.reshape(side**2, side**2)]
        return bias + table.permute(2, 0, 1)  # (ss, ss, M) -> (M, ss, ss)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__()
        width = int(config.hidden_size * config.mlp_ratio)
        self.fc1 = nn.Linear(config.hidden_size, width)
        self.fc2 = nn.Linear(width, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, N, C) transformed token by token."""
        return self.fc2(F.gelu(self.fc1(x)))


class ViTRVSABlock(GradientCheckpointingLayer):
    """Pre-norm transformer block; its attention is global every `full_attention_interval` blocks."""

    def __init__(self, config: ViTRVSAConfig, index: int) -> None:
        super().__init__()
        self.index = index
        is_full = (index + 1) % config.full_attention_interval == 0
        attention = FullAttention if is_full else RotatedVariedSizeWindowAttention
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = attention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = Mlp(config)
        self.drop_path = DropPath(
            config.drop_path_rate * index / max(config.num_hidden_layers - 1, 1)
        )

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
        """Embed an image (B, 3, height, width) of any size.

        Returns:
            Tokens (B, N, C) and the grid (H, W), both counted in started patches.

        Raises:
            ValueError: the grid is smaller than a window, where the offsets would divide by zero.
        """
        height, width = pixel_values.shape[-2:]
        pixel_values = F.pad(
            pixel_values, (0, -width % self.patch_size, 0, -height % self.patch_size)
        )
        x = self.patch_embeddings(pixel_values.to(self.patch_embeddings.weight.dtype))
        grid = (x.shape[2], x.shape[3])
        if min(grid) < self.window_size:
            least = (self.window_size - 1) * self.patch_size + 1
            raise ValueError(
                f"an image of {height} x {width} pixels has a grid of {grid[0]} x {grid[1]} tokens; "
                f"windows need {self.window_size} on a side, at least {least} pixels"
            )
        x = x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, HW, C)
        return x + resize_position_embedding(self.position_embeddings, grid), grid


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, H, W) at every place."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PyramidFromPlainMaps(nn.Module):
    """Bring four maps of the stride of the patches p to strides p/4, p/2, p and 2p."""

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__()
        channels = config.hidden_size
        self.quarter_stride = nn.Sequential(
            nn.ConvTranspose2d(channels, channels, 2, 2),
            ChannelLayerNorm(channels, eps=config.layer_norm_eps),
            nn.GELU(),
            nn.ConvTranspose2d(channels, channels, 2, 2),
        )
        self.half_stride = nn.ConvTranspose2d(channels, channels, 2, 2)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Resample four maps (B, C, H, W); an odd last row or column is lost in the coarsest."""
        finest, fine, same, coarse = maps
        return [
            self.quarter_stride(finest),
            self.half_stride(fine),
            same,
            F.max_pool2d(coarse, 2),
        ]


class ViTRVSAPreTrainedModel(PreTrainedModel):
    """Initialisation, loading and parameter layers of everything built on ViT + RVSA."""

    config: ViTRVSAConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["ViTRVSABlock"]
    _supports_sdpa = True
    _can_record_outputs = {"hidden_states": ViTRVSABlock, "attentions": MultiHeadAttention}
    _input_embed_layer = "patch_embeddings"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights of one module, children before parents, sparing those already loaded."""
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=std)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):  # the default of PyTorch
            bound = module.weight[0].numel() ** -0.5
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, ViTRVSAEmbeddings):
            init.trunc_normal_(module.position_embeddings, std=std)
        elif isinstance(module, MultiHeadAttention):
            self._init_attention(module)
        elif isinstance(module, ViTRVSABlock):
            depth_std = std / math.sqrt(2 * (module.index + 1))
            init.trunc_normal_(module.attention.proj.weight, std=depth_std)
            init.trunc_normal_(module.mlp.fc2.weight, std=depth_std)

    def _init_attention(self, module: MultiHeadAttention) -> None:
        """Start without relative positions, and with windows in place if the configuration says so."""
        if hasattr(module, "rel_pos_h"):
            init.zeros_(module.rel_pos_h)
            init.zeros_(module.rel_pos_w)
        if not isinstance(module, RotatedVariedSizeWindowAttention):
            return
        init.trunc_normal_(module.relative_position_bias_table, std=self.config.initializer_range)
        if self.config.zero_init_sampling:
            for layer in (module.sampling_offsets, module.sampling_scales, module.sampling_angles):
                init.zeros_(layer.weight)
                init.zeros_(layer.bias)


class ViTRVSAEncoder(ViTRVSAPreTrainedModel):
    """The blocks, under the same parameter names in the model and in the backbone."""

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__(config)
        self.embeddings = ViTRVSAEmbeddings(config)
        self.layers = nn.ModuleList(
            ViTRVSABlock(config, index) for index in range(config.num_hidden_layers)
        )
        # Differs: the original also keeps a final norm that it never applies; here it exists where it is used.
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
        """Return the depth of a parameter for layer-wise decay of the learning rate.

        Args:
            parameter_name: with or without a leading `backbone.`.

        Returns:
            0 for the embeddings, i + 1 for block i, `num_layers` + 1 for everything else.
        """
        name = parameter_name.removeprefix("backbone.")
        if name.startswith("embeddings."):
            return 0
        block = re.match(r"layers\.(\d+)\.", name)
        return int(block[1]) + 1 if block else self.num_layers + 1


class ViTRVSAModel(ViTRVSAEncoder):
    """The tokens after the last block (normalised only in the variant `last_layer_pyramid`).

    Loads a backbone's weights and leaves its pyramid aside.
    """

    _keys_to_ignore_on_load_unexpected = [r"^pyramid\."]

    def __init__(self, config: ViTRVSAConfig) -> None:
        super().__init__(config)
        self.post_init()

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutput:
        """Encode images (B, 3, height, width) into tokens (B, N, C), N counting started patches."""
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
            self.pyramid = PyramidFromPlainMaps(config)
        self.post_init()

    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BackboneOutput:
        """Compute the maps of images (B, 3, height, width) of any size from 97 pixels up.

        Returns:
            `feature_maps`: one map (B, C, ceil(height / stride), ceil(width / stride)) per output stage.
            Kept: pooling halves an odd grid downwards, so the coarsest map may be one shorter.
        """
        x, grid = self.embeddings(pixel_values)
        stages = [x]
        wanted = {index % (self.num_layers + 1) for index in self.out_indices}
        for stage, layer in enumerate(self.layers, start=1):
            x = layer(x, grid)
            stages.append(x if stage in wanted else None)
        if self.config.feature_variant == "last_layer_pyramid":
            tokens = [self.norm(x)] * len(self.out_indices)
        else:
            tokens = [stages[index] for index in self.out_indices]
        maps = [t.transpose(1, 2).unflatten(2, grid) for t in tokens]  # (B, N, C) -> (B, C, H, W)
        if self.config.feature_variant != "multi_depth":
            maps = self.pyramid(maps)
        height, width = pixel_values.shape[-2:]
        return BackboneOutput(
            feature_maps=tuple(
                m[..., : -(-height // stride), : -(-width // stride)]
                for m, stride in zip(maps, self.config.map_strides, strict=True)
            )
        )


AutoModel.register(ViTRVSAConfig, ViTRVSAModel, exist_ok=True)
AutoBackbone.register(ViTRVSAConfig, ViTRVSABackbone, exist_ok=True)
