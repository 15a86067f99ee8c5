"""Weights of the original MTP code under the names of this package, as tables of patterns.

Run by hand once per checkpoint; never shipped with the weights.

Source: state dicts of the original `ViT_Win_RVSA_V3_WSZ7` and `RVSA_MTP*`; checkpoints of MAE.
"""

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .ops_position_tables import resize_position_embedding, resize_rel_pos

# (pattern of the whole original key, new key or None to drop it); the first match counts.
RenameTable = Sequence[tuple[str, str | None]]

POSITION_TABLE = "embeddings.position_embeddings"
PATCHES = "embeddings.patch_embeddings."

# A plain ViT (MAE) has the first four rows and the final norm only.
VIT_RVSA_TABLE: RenameTable = (
    (r"pos_embed", POSITION_TABLE),
    (r"patch_embed\.proj\.(weight|bias)", r"embeddings.patch_embeddings.\1"),
    (r"blocks\.(\d+)\.(norm1|norm2|mlp\.fc1|mlp\.fc2)\.(weight|bias)", r"layers.\1.\2.\3"),
    (r"blocks\.(\d+)\.attn\.(qkv|proj)\.(weight|bias)", r"layers.\1.attention.\2.\3"),
    (r"blocks\.(\d+)\.attn\.full_attn_rel_pos_(h|w)", r"layers.\1.attention.rel_pos_\2"),
    # Windows; and full attention in checkpoints of the older RVSA project.
    (r"blocks\.(\d+)\.attn\.rel_pos_(h|w)", r"layers.\1.attention.rel_pos_\2"),
    (
        r"blocks\.(\d+)\.attn\.relative_position_bias_table",
        r"layers.\1.attention.relative_position_bias_table",
    ),
    (r"blocks\.(\d+)\.attn\.relative_position_index", None),  # a constant
    (
        r"blocks\.(\d+)\.attn\.sampling_(offsets|scales|angles)\.2\.(weight|bias)",
        r"layers.\1.attention.sampling_\2.\3",
    ),
    (r"norm\.(weight|bias)", r"norm.\1"),
    (r"fpn1\.0\.(weight|bias)", r"pyramid.quarter_stride.0.\1"),
    (r"fpn1\.1\.ln\.(weight|bias)", r"pyramid.quarter_stride.1.\1"),
    (r"fpn1\.3\.(weight|bias)", r"pyramid.quarter_stride.3.\1"),
    (r"fpn2\.0\.(weight|bias)", r"pyramid.half_stride.\1"),
)


def rename_key(key: str, table: RenameTable) -> tuple[bool, str | None]:
    """Return whether a row of the table matches, and the new key (None: drop it)."""
    for pattern, replacement in table:
        match = re.fullmatch(pattern, key)
        if match:
            return True, None if replacement is None else match.expand(replacement)
    return False, None


def move_table(table: RenameTable, prefix: str, new_prefix: str) -> RenameTable:
    """Return the rows for keys that have a prefix before, and another one afterwards."""
    return [
        (re.escape(prefix) + pattern, None if name is None else new_prefix + name)
        for pattern, name in table
    ]


def invert_table(table: RenameTable) -> RenameTable:
    """Return the rows that lead back from new names to original ones.

    Rows that drop a key have no way back. Where two rows make the same name, so do two of the
    result, in the same order.

    Raises:
        ValueError: a pattern has more than literal text and capturing groups side by side.
    """
    rows = []
    for pattern, name in table:
        if name is None:
            continue
        *pieces, end = re.split(r"\(([^()?][^()]*)\)", pattern)
        literals, groups = [*pieces[::2], end], pieces[1::2]
        if any(set(re.sub(r"\\.", "", literal)) & set(".^$*+?{}[]|()") for literal in literals):
            raise ValueError(f"the row {pattern!r} cannot be turned around")
        *new_pieces, new_end = re.split(r"\\(\d)", name)
        order = [int(number) for number in new_pieces[1::2]]
        back = "".join(
            re.escape(literal) + f"({groups[number - 1]})"
            for literal, number in zip(new_pieces[::2], order, strict=True)
        )
        original = "".join(
            re.sub(r"\\(.)", r"\1", literal) + f"\\{order.index(number) + 1}"
            for number, literal in enumerate(literals[:-1], start=1)
        )
        rows.append((back + re.escape(new_end), original + re.sub(r"\\(.)", r"\1", end)))
    return rows


@torch.no_grad()
def load_original_weights(
    backbone: PreTrainedModel, state_dict: Mapping[str, Tensor], table: RenameTable
) -> dict[str, list[str]]:
    """Start a backbone from one of the original: of MTP, or a plain transformer such as MAE's.

    Keys may lie below `encoder.` or `backbone.`. Position tables are resized to the native grid,
    without the position of the class token. Patches of images with another number of channels are
    left out, weight and bias.
    Differs: a table without class token keeps its first position, which the original's pretraining
    drops too, so that an MTP encoder can be pretrained again.

    Args:
        backbone: changed in place.
        state_dict: of the autoencoder or the encoder.
        table: original names -> those of the backbone.

    Returns:
        Sorted names: `used` and `missing` of the backbone, `unused` of the checkpoint.

    Raises:
        ValueError: a tensor has another shape than the parameter it belongs to.
    """
    own = backbone.state_dict()
    weights: dict[str, Tensor] = {}
    unused: list[str] = []
    original: dict[str, str] = {}  # new name -> key of the checkpoint
    for key, tensor in state_dict.items():
        name = rename_key(re.sub(r"^(encoder|backbone)\.", "", key), table)[1]
        if name in own:
            original[name] = key
            weights[name] = fit_position_table(name, tensor, own[name])
        else:
            unused.append(key)
    if _has_other_channels(weights, own):
        for name in [name for name in weights if name.startswith(PATCHES)]:
            del weights[name]
            unused.append(original[name])
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{name} is {tuple(own[name].shape)} in the backbone, "
                f"but {tuple(tensor.shape)} in the checkpoint"
            )
        own[name].copy_(tensor)
    return {
        "used": sorted(weights),
        "missing": sorted(own.keys() - weights.keys()),
        "unused": sorted(unused),
    }


def _has_other_channels(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Tell whether the patches of a checkpoint differ in the channels of the image, only there."""
    name = PATCHES + "weight"
    if name not in weights:
        return False
    (width, channels, *side), (own_width, own_channels, *own_side) = (
        tensors[name].shape for tensors in (weights, own)
    )
    return (width, side) == (own_width, own_side) and channels != own_channels


def fit_position_table(name: str, tensor: Tensor, own: Tensor) -> Tensor:
    """Resize a position table to the shape of the parameter it is for; return others as they are.

    Args:
        name: of the parameter; any prefix.
        tensor: position table with or without class token, relative positions, or anything else.
        own: the parameter.
    """
    if tensor.shape == own.shape or tensor.shape[-1:] != own.shape[-1:]:
        return tensor
    if name.endswith(POSITION_TABLE):
        tokens, native = tensor.shape[1], math.isqrt(own.shape[1])
        patches = tensor[:, tokens - math.isqrt(tokens) ** 2 :]  # without the class token
        return resize_position_embedding(patches, (native, native))
    if name.endswith(("attention.rel_pos_h", "attention.rel_pos_w")):
        return resize_rel_pos(tensor, own.shape[0])
    return tensor
