"""From the shapes of an original backbone to its config: every size that the keys can tell.

Keys are those of the bare backbone. What they cannot tell is assumed and said.

Letters: C channels, M heads, D head size, S side of the token grid.

Source: original spec 1.1, 1.5, 1.7, 1.8.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedConfig

from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig, default_out_indices
from mtp_hf.modeling.convert_internimage import INTERNIMAGE_TABLE
from mtp_hf.modeling.convert_mtp_checkpoint import VIT_RVSA_TABLE, RenameTable

Shapes = Mapping[str, tuple[int, ...]]
MAE_HEAD_SIZE = 64
# Blocks of the published sizes, whose four maps are known.
PUBLISHED_DEPTHS = (12, 24)


@dataclass(frozen=True)
class BackboneFacts:
    """What the keys tell about a backbone.

    Args:
        kind: row of `BACKBONE_KINDS`.
        fields: of the config.
        assumed: what the keys cannot tell: field -> what was taken and why.
        is_plain: a vision transformer without windows, as of MAE.
    """

    kind: str
    fields: dict[str, Any]
    assumed: dict[str, str] = field(default_factory=dict)
    is_plain: bool = False

    @property
    def title(self) -> str:
        """What people call it."""
        return BACKBONE_KINDS[self.kind].title


@dataclass(frozen=True)
class BackboneKind:
    """A backbone of the original.

    Args:
        title: for people.
        config_class: of ours.
        mark: pattern of a key that tells it.
        table: original names to ours.
    """

    title: str
    config_class: type[PreTrainedConfig]
    mark: str
    table: RenameTable


BACKBONE_KINDS = {
    "vit_rvsa": BackboneKind(
        "ViT + RVSA", ViTRVSAConfig, r"blocks\.\d+\.attn\.qkv\.weight", VIT_RVSA_TABLE
    ),
    "internimage": BackboneKind(
        "InternImage",
        InternImageConfig,
        r"levels\.\d+\.blocks\.\d+\.dcn\.mask\.weight",
        INTERNIMAGE_TABLE,
    ),
}
NUM_TAPS = 9  # of a deformable convolution


def describe_backbone(shapes: Shapes) -> BackboneFacts:
    """Recognise a backbone and read its sizes.

    Raises:
        ValueError: not one of the original's, or a key without which a size is unknown is missing.
    """
    for name, kind in BACKBONE_KINDS.items():
        if any(re.fullmatch(kind.mark, key) for key in shapes):
            return _READERS[name](shapes)
    raise ValueError(
        f"no backbone of MTP ({', '.join(BACKBONE_KINDS)}); its keys begin with "
        + ", ".join(list(shapes)[:4])
    )


def _describe_vit_rvsa(shapes: Shapes) -> BackboneFacts:
    hidden_size, num_channels, patch_size, _ = shape_of(shapes, "patch_embed.proj.weight", 4)
    depth = _count(shapes, r"blocks\.(\d+)\..*")
    windowed = [
        i for i in range(depth) if f"blocks.{i}.attn.relative_position_bias_table" in shapes
    ]
    tables = [
        key for key in shapes if re.fullmatch(r"blocks\.\d+\.attn\.(full_attn_)?rel_pos_h", key)
    ]
    full_tables = [key for key in tables if int(key.split(".")[1]) not in windowed]
    fields: dict[str, Any] = {
        "hidden_size": hidden_size,
        "num_hidden_layers": depth,
        "mlp_ratio": shape_of(shapes, "blocks.0.mlp.fc1.weight", 2)[0] / hidden_size,
        "full_attention_interval": _interval(depth, windowed),
        "patch_size": patch_size,
        "num_channels": num_channels,
        "image_size": _grid_side(shapes) * patch_size,
        "use_full_attention_rel_pos": bool(full_tables),
    }
    assumed = {}
    if windowed:
        rows, heads = shape_of(shapes, f"blocks.{windowed[0]}.attn.relative_position_bias_table", 2)
        fields |= {"num_attention_heads": heads, "window_size": (math.isqrt(rows) + 1) // 2}
    elif tables:
        fields["num_attention_heads"] = hidden_size // shape_of(shapes, tables[0], 2)[1]
    else:
        fields["num_attention_heads"] = max(hidden_size // MAE_HEAD_SIZE, 1)
        assumed["num_attention_heads"] = (
            f"{fields['num_attention_heads']}, heads of {MAE_HEAD_SIZE} channels: no key tells them"
        )
    if depth not in PUBLISHED_DEPTHS and depth >= 4:
        blocks = [stage - 1 for stage in default_out_indices(depth)]
        assumed["out_indices"] = f"{blocks} (blocks from 0): no key tells the blocks of the maps"
    return BackboneFacts("vit_rvsa", fields, assumed, is_plain=not windowed)


def _describe_internimage(shapes: Shapes) -> BackboneFacts:
    embed_dim = shape_of(shapes, "patch_embed.conv2.weight", 4)[0]
    first = [f"levels.{level}.blocks.0." for level in range(_count(shapes, r"levels\.(\d+)\..*"))]
    has_scale = first[0] + "gamma1" in shapes
    fields: dict[str, Any] = {
        "embed_dim": embed_dim,
        "depths": [
            _count(shapes, rf"levels\.{level}\.blocks\.(\d+)\..*") for level in range(len(first))
        ],
        "num_groups": [
            shape_of(shapes, f"{name}dcn.mask.weight", 2)[0] // NUM_TAPS for name in first
        ],
        "mlp_ratio": shape_of(shapes, first[0] + "mlp.fc1.weight", 2)[0] / embed_dim,
        "post_norm": "levels.0.norm.0.weight" not in shapes,
        "layer_scale_init_value": 1e-5 if has_scale else None,
        "num_channels": shape_of(shapes, "patch_embed.conv1.weight", 4)[1],
    }
    assumed = {"image_size": "448, the size of MTP's pretraining: no key tells it"}
    fields["image_size"] = 448
    for name, size in INTERNIMAGE_SIZES.items():
        if name != "tiny" and all(fields[key] == size[key] for key in _SIZE_FIELDS):
            fields["offset_scale"] = size.get("offset_scale", 2.0)
            return BackboneFacts("internimage", fields, assumed)
    scale = "2.0, as in the size that MTP publishes: no key tells the distance of the taps"
    return BackboneFacts("internimage", fields, {"offset_scale": scale, **assumed})


_SIZE_FIELDS = ("embed_dim", "depths", "num_groups")
_READERS = {"vit_rvsa": _describe_vit_rvsa, "internimage": _describe_internimage}


def shape_of(shapes: Shapes, key: str, num_axes: int) -> tuple[int, ...]:
    """Return the shape of a tensor that must be there.

    Raises:
        ValueError: it is missing, has another number of axes, or is empty.
    """
    if key not in shapes:
        raise ValueError(f"{key} is missing; without it the size of the network is unknown")
    if len(shapes[key]) != num_axes:
        raise ValueError(f"{key} has shape {tuple(shapes[key])}, expected {num_axes} axes")
    if 0 in shapes[key]:
        raise ValueError(f"{key} has shape {tuple(shapes[key])}, so no numbers")
    return tuple(shapes[key])


def _count(shapes: Shapes, pattern: str) -> int:
    """Count numbered modules, which must run from 0 without a gap."""
    numbers = {int(match[1]) for key in shapes if (match := re.fullmatch(pattern, key))}
    gaps = sorted(set(range(max(numbers) + 1)) - numbers)
    if gaps:
        raise ValueError(f"no key matches {pattern.replace('(', '').replace(')', '')} for {gaps}")
    return len(numbers)


def _interval(depth: int, windowed: list[int]) -> int:
    """Return n so that every n-th block attends to the whole grid."""
    full = [i for i in range(depth) if i not in windowed]
    interval = full[0] + 1 if full else depth + 1
    if full != [i for i in range(depth) if (i + 1) % interval == 0]:
        raise ValueError(
            f"blocks {full} have no relative_position_bias_table: expected every n-th of {depth}"
        )
    return interval


def _grid_side(shapes: Shapes) -> int:
    """Return S of the position table, without the class token."""
    tokens = shape_of(shapes, "pos_embed", 3)[1] - ("cls_token" in shapes)
    side = math.isqrt(tokens)
    if side**2 != tokens or not tokens:
        raise ValueError(f"pos_embed has {tokens} positions, which is no square grid")
    return side
