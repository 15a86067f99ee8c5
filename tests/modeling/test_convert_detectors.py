"""Every key of a published detector has one place in our model."""

import json

import pytest
import torch

from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_retinanet import RetinaNetConfig
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES
from mtp_hf.modeling.convert_detectors import (
    RETINANET_TABLE,
    TWO_STAGE_DETECTOR_TABLE,
    move_table,
)
from mtp_hf.modeling.convert_internimage import INTERNIMAGE_TABLE
from mtp_hf.modeling.convert_mtp_checkpoint import (
    rename_key,
)
from mtp_hf.modeling.modeling_faster_rcnn import FasterRCNNForObjectDetection
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from mtp_hf.modeling.modeling_retinanet import RetinaNetForObjectDetection
from tests.original_names import rename_keys, rename_vit_rvsa_keys

# Beginning of a configuration's name -> table, configuration, model.
FAMILIES = {
    "faster_rcnn": (TWO_STAGE_DETECTOR_TABLE, FasterRCNNConfig, FasterRCNNForObjectDetection),
    "retinanet": (RETINANET_TABLE, RetinaNetConfig, RetinaNetForObjectDetection),
    "oriented_rcnn": (
        TWO_STAGE_DETECTOR_TABLE,
        OrientedRCNNConfig,
        OrientedRCNNForOrientedObjectDetection,
    ),
}
# With {} for the size of the backbone.
NAMES = (
    "Horizontal_Detection/configs/mtp/dior/faster_rcnn_rvsa_{}_800_mae_mtp_dior",
    "Horizontal_Detection/configs/mtp/xview/retinanet_rvsa_{}_416_mae_mtp_xview",
    *(
        f"Rotated_Detection/mmrotate1.x/configs/mtp/{name}"
        for name in (
            "dior-r/oriented_rcnn_rvsa_{}_800_mae_mtp_diorr",
            "dotav1/oriented_rcnn_rvsa_{}_1024_mae_mtp_dota10",
            "dotav2/oriented_rcnn_rvsa_{}_1024_mae_mtp_dota20",
            "fair1m20/oriented_rcnn_rvsa_{}_800_mae_mtp_fair1m20_branches",
        )
    ),
)

# The same configurations with InternImage.
INTERNIMAGE_NAMES = tuple(
    name.replace("rvsa_{}", "intern_xl").replace("_mae_", "_imp_").removesuffix("_branches")
    for name in NAMES
)


@pytest.fixture(scope="module")
def manifests(shared_dir):
    return json.loads((shared_dir / "fixtures" / "keys_finetune.json").read_text())


def _shapes(manifests, name):
    """Keys and shapes of one entry, which may be stored as the differences from another."""
    entry = manifests[name]
    if "keys" in entry:
        return {key: tuple(shape) for key, (shape, _) in entry["keys"].items()}
    shapes = _shapes(manifests, entry["like"])
    changed = {key: tuple(shape) for key, (shape, _) in entry["different"].items()}
    return {k: v for k, v in (shapes | changed).items() if k not in entry["missing"]}


@pytest.mark.parametrize("name", [name.format(size) for name in NAMES for size in "bl"])
def test_keys_of_the_published_detector_fit_one_to_one(manifests, name):
    entry = manifests[f"{name}.py"]
    width = entry["backbone"].split(":")[1]
    kind = next(kind for kind in FAMILIES if name.rpartition("/")[2].startswith(kind))
    table, config_class, model_class = FAMILIES[kind]
    shapes = _shapes(manifests, f"{name}.py")
    with torch.device("meta"):
        tensors = {key: torch.empty(shape) for key, shape in shapes.items()}
    rest = {k: v for k, v in tensors.items() if not k.startswith("backbone.")}
    renamed = rename_keys(rest, table)
    assert len(renamed) == len(rest)
    renamed |= rename_vit_rvsa_keys(tensors, "backbone.", new_prefix="backbone.")
    size = "base" if width == "768" else "large"
    backbone = VIT_RVSA_SIZES[size] | {
        "model_type": "mtp_vit_rvsa",
        "image_size": entry["img_size"],
        "use_full_attention_rel_pos": False,
    }
    with torch.device("meta"):
        model = model_class(
            config_class(backbone_config=backbone, num_labels=_num_labels(shapes, table))
        )
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {key: tuple(value.shape) for key, value in renamed.items()} == expected
    assert sum(p.numel() for p in model.parameters()) == entry["parameters"]


@pytest.mark.parametrize("name", INTERNIMAGE_NAMES)
def test_keys_of_the_published_detector_with_internimage_fit_one_to_one(manifests, name):
    entry = manifests[f"{name}.py"]
    kind = next(kind for kind in FAMILIES if name.rpartition("/")[2].startswith(kind))
    table, config_class, model_class = FAMILIES[kind]
    shapes = _shapes(manifests, f"{name}.py")
    backbone = INTERNIMAGE_SIZES["XL"] | {"model_type": "mtp_internimage"}
    with torch.device("meta"):
        tensors = {key: torch.empty(shape) for key, shape in shapes.items()}
        model = model_class(
            config_class(backbone_config=backbone, num_labels=_num_labels(shapes, table))
        )
    renamed = rename_keys(tensors, (*move_table(INTERNIMAGE_TABLE, *["backbone."] * 2), *table))
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert {key: tuple(value.shape) for key, value in renamed.items()} == expected
    assert sum(p.numel() for p in model.parameters()) == entry["parameters"]


def _num_labels(shapes, table):
    if table is RETINANET_TABLE:
        return shapes["bbox_head.retina_cls.bias"][0] // 9
    return shapes["roi_head.bbox_head.fc_cls.bias"][0] - 1


def test_background_stays_last_and_masks_find_their_layers():
    rows = {
        "roi_head.bbox_head.fc_cls.weight": "classifier.box.classifier.weight",
        "roi_head.bbox_head.shared_fcs.0.bias": "decoder.box_head.fc1.bias",
        "roi_head.mask_head.convs.3.conv.bias": "decoder.mask_head.convs.3.bias",
        "roi_head.mask_head.conv_logits.weight": "classifier.mask.weight",
        "rpn_head.rpn_reg.weight": "decoder.rpn_head.regressor.weight",
    }
    assert {key: rename_key(key, TWO_STAGE_DETECTOR_TABLE)[1] for key in rows} == rows


def test_extra_maps_of_retinanet_are_not_among_the_outputs():
    assert rename_key("neck.fpn_convs.2.conv.bias", RETINANET_TABLE) == (
        True,
        "neck.output_convs.2.bias",
    )
    assert rename_key("neck.fpn_convs.4.conv.bias", RETINANET_TABLE) == (
        True,
        "neck.extra_convs.1.bias",
    )


def test_a_moved_table_takes_the_prefix_literally():
    moved = move_table([(r"(\w+)", r"x.\1"), ("gone", None)], "a.b.", "new.")
    assert rename_key("a.b.c", moved) == (True, "new.x.c")
    assert rename_key("a-b.c", moved) == (False, None)
    assert rename_key("a.b.gone", moved[1:]) == (True, None)
