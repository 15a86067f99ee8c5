"""A tiny Segment Anything model with random weights, saved at test time."""

from pathlib import Path

import torch
from transformers import (
    SamConfig,
    SamHQConfig,
    SamHQModel,
    SamHQProcessor,
    SamImageProcessor,
    SamModel,
    SamProcessor,
)

SIDE = 64  # of the model's input
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
    "output_channels": 16,
    "window_size": 4,
    "global_attn_indexes": [1],
    "num_pos_feats": 8,
    "mlp_dim": 64,
}
PROMPT = {"hidden_size": 16, "image_size": SIDE, "patch_size": 8, "mask_input_channels": 4}
DECODER = {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}


def write_sam(folder: Path, *, is_high_quality: bool = False) -> str:
    """A folder that `from_pretrained` loads."""
    torch.manual_seed(0)
    parts = {"vision_config": VISION, "prompt_encoder_config": PROMPT}
    if is_high_quality:
        config = SamHQConfig(mask_decoder_config=DECODER | {"vit_dim": 32}, **parts)
        model, processor_class = SamHQModel(config), SamHQProcessor
    else:
        model = SamModel(SamConfig(mask_decoder_config=DECODER, **parts))
        processor_class = SamProcessor
    model.save_pretrained(folder)
    images = SamImageProcessor(
        size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE}
    )
    processor_class(images).save_pretrained(folder)
    return str(folder)
