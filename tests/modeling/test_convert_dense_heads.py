"""Claims about the names of finetuned dense models."""

import json

import pytest
import torch

from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES, ViTRVSAConfig
from mtp_hf.modeling.convert_dense_heads import (
    CHANGE_HEAD_TABLE,
    CLASSIFICATION_HEAD_TABLE,
    SEGMENTATION_HEAD_TABLE,
)
from mtp_hf.modeling.convert_internimage import INTERNIMAGE_TABLE
from mtp_hf.modeling.convert_mtp_checkpoint import (
    move_table,
    rename_key,
)
from mtp_hf.modeling.modeling_internimage import InternImageForImageClassification
from mtp_hf.modeling.modeling_siamese_unet import SiameseUNetForChangeDetection
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from mtp_hf.modeling.modeling_vit_rvsa_classification import ViTRVSAForImageClassification
from tests.original_names import rename_keys, rename_vit_rvsa_keys

# Part of the original -> model, its configuration, feature variant, and a key that counts classes.
FAMILIES = {
    "Semantic_Segmentation": (
        UperNetRSForSemanticSegmentation,
        lambda backbone, **values: UperNetRSConfig(backbone_config=backbone, **values),
        "multi_depth_pyramid",
        "decode_head.conv_seg.bias",
    ),
    "Change_Detection": (
        SiameseUNetForChangeDetection,
        lambda backbone, **values: SiameseUNetConfig(backbone_config=backbone, **values),
        "multi_depth",
        "decode_head.conv_seg.bias",
    ),
    "Scene_Classification": (
        ViTRVSAForImageClassification,
        lambda backbone, num_labels: ViTRVSAConfig(
            **backbone.to_dict() | {"id2label": None, "label2id": None, "num_labels": num_labels}
        ),
        "multi_depth",
        "head.fc.bias",
    ),
}
# Configurations with a ViT.
PUBLISHED = {"Semantic_Segmentation": 4, "Change_Detection": 8, "Scene_Classification": 4}
PUBLISHED_INTERNIMAGE = {
    "Semantic_Segmentation": 2,
    "Change_Detection": 4,
    "Scene_Classification": 2,
}
TABLES = {
    "Semantic_Segmentation": SEGMENTATION_HEAD_TABLE,
    "Change_Detection": CHANGE_HEAD_TABLE,
    "Scene_Classification": CLASSIFICATION_HEAD_TABLE,
}


@pytest.mark.parametrize(
    ("family", "original", "own"),
    [
        ("Scene_Classification", "head.fc.weight", "classifier.weight"),
        ("Semantic_Segmentation", "decode_head.conv_seg.bias", "classifier.classifier.bias"),
        (
            "Semantic_Segmentation",
            "decode_head.psp_modules.2.1.bn.running_var",
            "decoder.pool_convs.2.norm.running_var",
        ),
        (
            "Semantic_Segmentation",
            "decode_head.fpn_bottleneck.conv.weight",
            "decoder.fusion.conv.weight",
        ),
        (
            "Change_Detection",
            "decode_head.blocks.3.conv2.0.weight",
            "decoder.blocks.3.conv2.conv.weight",
        ),
        (
            "Change_Detection",
            "decode_head.blocks.0.conv1.1.running_mean",
            "decoder.blocks.0.conv1.norm.running_mean",
        ),
        ("Change_Detection", "decode_head.conv_seg.weight", "classifier.classifier.weight"),
    ],
)
def test_head_keys_get_our_names(family, original, own):
    assert rename_key(original, TABLES[family]) == (True, own)


def test_keys_of_other_heads_are_not_known():
    assert rename_key("decode_head.blocks.0.conv3.0.weight", CHANGE_HEAD_TABLE)[0] is False
    assert rename_key("roi_head.bbox_head.fc_cls.weight", SEGMENTATION_HEAD_TABLE)[0] is False


SIZES = {"768": VIT_RVSA_SIZES["base"], "1024": VIT_RVSA_SIZES["large"]}


def _manifests(shared_dir):
    """Config file of the original -> backbone, image size, and shapes by key."""
    stored = json.loads((shared_dir / "fixtures" / "keys_finetune.json").read_text())
    for name, entry in stored.items():
        shapes = stored[entry["like"]]["keys"] | entry["different"] if "like" in entry else None
        shapes = {
            key: torch.empty(shape, device="meta")
            for key, (shape, _) in (shapes or entry["keys"]).items()
            if key not in entry.get("missing", [])
        }
        assert len(shapes) == entry["n_keys"]
        yield name, entry, shapes


@pytest.mark.parametrize("family", FAMILIES)
def test_all_keys_of_the_published_models_have_a_place(shared_dir, family):
    model_class, config_class, variant, last = FAMILIES[family]
    count = 0
    for name, entry, original in _manifests(shared_dir):
        kind, width, _ = entry["backbone"].split(":")
        if not name.startswith(family) or kind != "RVSA_MTP":
            continue
        values = {"image_size": entry["img_size"], "feature_variant": variant}
        with torch.device("meta"):
            backbone = ViTRVSAConfig(**SIZES[width] | values)
            model = model_class(config_class(backbone, num_labels=len(original[last])))
        head = {k: x for k, x in original.items() if not k.startswith("backbone.")}
        renamed = rename_vit_rvsa_keys(original, "backbone.", new_prefix="backbone.")
        if variant == "multi_depth":  # the original keeps layers that it never runs
            renamed = {k: x for k, x in renamed.items() if not k.startswith("backbone.pyramid.")}
        renamed |= rename_keys(head, TABLES[family])
        assert {k: x.shape for k, x in renamed.items()} == {
            k: x.shape for k, x in model.state_dict().items()
        }, name
        count += 1
    assert count == PUBLISHED[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_all_keys_of_the_published_models_with_internimage_have_a_place(shared_dir, family):
    model_class, config_class, _, last = FAMILIES[family]
    table = (*move_table(INTERNIMAGE_TABLE, "backbone.", "backbone."), *TABLES[family])
    count = 0
    for name, entry, original in _manifests(shared_dir):
        if not name.startswith(family) or not entry["backbone"].startswith("InternImage:"):
            continue
        classes = {"num_labels": len(original[last])}
        with torch.device("meta"):
            if family == "Scene_Classification":
                config = InternImageConfig(**INTERNIMAGE_SIZES["XL"], **classes)
                model = InternImageForImageClassification(config)
            else:
                backbone = InternImageConfig(**INTERNIMAGE_SIZES["XL"])
                model = model_class(config_class(backbone, **classes))
        renamed = rename_keys(original, table)
        assert {k: x.shape for k, x in renamed.items()} == {
            k: x.shape for k, x in model.state_dict().items()
        }, name
        assert sum(x.numel() for x in model.parameters()) == entry["parameters"], name
        count += 1
    assert count == PUBLISHED_INTERNIMAGE[family]
