"""A tiny Segment Anything model with random weights, saved at test time."""

from pathlib import Path

import torch
from transformers import (
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam2Processor,
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


# The encoder of SAM 2: four stages with windows, three levels for the decoder.
HIERA = {
    "model_type": "sam2_hiera_det_model",
    "hidden_size": 8,
    "image_size": [SIDE, SIDE],
    "blocks_per_stage": [1, 1, 1, 1],
    "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 1, 2, 2],
    "window_size_per_stage": [8, 4, 4, 4],
    "global_attention_blocks": [],
    "window_positional_embedding_background_size": [2, 2],
}
VISION_2 = {
    "backbone_config": HIERA,
    "backbone_channel_list": [64, 32, 16, 8],
    "fpn_hidden_size": 16,
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
}


def write_sam(folder: Path, kind: str = "sam") -> str:
    """A folder that `from_pretrained` loads; kinds are `sam`, `sam_hq` and `sam2`."""
    torch.manual_seed(0)
    parts = {"vision_config": VISION, "prompt_encoder_config": PROMPT}
    side = {"height": SIDE, "width": SIDE}
    images = SamImageProcessor(size={"longest_edge": SIDE}, pad_size=side)
    if kind == "sam_hq":
        model = SamHQModel(SamHQConfig(mask_decoder_config=DECODER | {"vit_dim": 32}, **parts))
        processor = SamHQProcessor(images)
    elif kind == "sam2":
        parts = {"vision_config": VISION_2, "prompt_encoder_config": PROMPT | {"patch_size": 16}}
        model = Sam2Model(Sam2Config(mask_decoder_config=DECODER, **parts))
        processor = Sam2Processor(Sam2ImageProcessor(size=side))
    else:
        model = SamModel(SamConfig(mask_decoder_config=DECODER, **parts))
        processor = SamProcessor(images)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)
