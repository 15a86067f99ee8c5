"""Small models and hand-made batches that several tests share."""

import torch

from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig

TINY_BACKBONE = {
    "model_type": "mtp_vit_rvsa",
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "full_attention_interval": 2,
    "image_size": 112,
    "out_indices": [1, 2, 3, 4],
    "drop_path_rate": 0.0,
}
TINY_TWO_STAGE = {
    "hidden_size": 16,
    "box_hidden_size": 32,
    "train_pre_nms": 50,
    "train_post_nms": 40,
    "test_pre_nms": 50,
    "test_post_nms": 40,
    "rpn_num_samples": 32,
    "box_num_samples": 16,
    "anchor_scales": [4],
}
CLASS_NAMES = {"sior": ["ship", "airplane", "vehicle"], "fast": ["Boeing737", "Van"]}


def tiny_pretraining_config(**overrides) -> MTPPreTrainingConfig:
    values = {
        "backbone_config": TINY_BACKBONE,
        "class_names": CLASS_NAMES,
        "semantic_config": {"hidden_size": 16, "dropout": 0.0},
        "instance_config": {**TINY_TWO_STAGE, "mask_hidden_size": 16, "mask_num_convs": 1},
        "rotated_config": TINY_TWO_STAGE,
    }
    return MTPPreTrainingConfig(**(values | overrides))


def make_label(dataset: str, num_objects: int, side: int = 112, **extra) -> dict:
    """Squares of 24 pixels along the diagonal, labelled in all three ways."""
    corners = 4 + 26 * torch.arange(num_objects)
    boxes = torch.stack([corners, corners, corners + 24, corners + 24], dim=1).float()
    masks = torch.zeros(num_objects, side, side, dtype=torch.bool)
    semantic = torch.zeros(side, side, dtype=torch.int64)
    classes = torch.arange(num_objects) % 2
    for mask, corner, label in zip(masks, corners.tolist(), classes.tolist(), strict=True):
        mask[corner : corner + 24, corner : corner + 24] = True
        semantic[mask] = label + 1
    centres = corners.float() + 12
    sides = torch.full((num_objects,), 24.0)
    rotated = torch.stack([centres, centres, sides, sides, torch.zeros(num_objects)], dim=1)
    return {
        "dataset": dataset,
        "image_id": f"{dataset}-{num_objects}",
        "size": (side, side),
        "boxes": boxes,
        "class_labels": classes,
        "instance_masks": masks,
        "rotated_boxes": rotated,
        "rotated_class_labels": classes.clone(),
        "semantic_labels": semantic,
    } | extra


def make_batch(plan: list[tuple[str, int]], side: int = 112) -> tuple[torch.Tensor, list[dict]]:
    """Random images with `plan` = data set and number of objects of each."""
    labels = [make_label(dataset, count, side) for dataset, count in plan]
    return torch.randn(len(plan), 3, side, side), labels
