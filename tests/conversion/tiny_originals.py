"""Small checkpoints under the original's names, made by reading our names backwards."""

import torch
from transformers import PreTrainedModel

from mtp_hf.conversion.original import original_state_dict
from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.configuration_internimage import InternImageConfig
from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_retinanet import RetinaNetConfig
from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_faster_rcnn import FasterRCNNForObjectDetection
from mtp_hf.modeling.modeling_internimage import (
    InternImageBackbone,
    InternImageForImageClassification,
)
from mtp_hf.modeling.modeling_mask_rcnn import MaskRCNNForInstanceSegmentation
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from mtp_hf.modeling.modeling_retinanet import RetinaNetForObjectDetection
from mtp_hf.modeling.modeling_siamese_unet import SiameseUNetForChangeDetection
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from mtp_hf.modeling.modeling_vit_rvsa_classification import ViTRVSAForImageClassification
from tests.tiny_models import TINY_BACKBONE, TINY_TWO_STAGE, tiny_pretraining_config

VIT = {k: v for k, v in TINY_BACKBONE.items() if k not in ("model_type", "drop_path_rate")}
NO_TABLES = VIT | {"use_full_attention_rel_pos": False}
INTERN = {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_groups": [2, 4, 8, 16]}
WIDTHS = {k: TINY_TWO_STAGE[k] for k in ("hidden_size", "box_hidden_size")}
NAMES = {0: "a", 1: "b", 2: "c"}


def tiny_model(family: str) -> PreTrainedModel:
    """A random model of ours for a row of `FAMILIES`, or a backbone."""
    torch.manual_seed(0)
    models = {
        "backbone": lambda: ViTRVSABackbone(ViTRVSAConfig(**VIT)),
        "internimage": lambda: InternImageBackbone(InternImageConfig(**INTERN)),
        "classifier": lambda: ViTRVSAForImageClassification(
            ViTRVSAConfig(**VIT, feature_variant="multi_depth", id2label=NAMES)
        ),
        "internimage_classifier": lambda: InternImageForImageClassification(
            InternImageConfig(**INTERN, id2label=NAMES)
        ),
        "faster_rcnn": lambda: FasterRCNNForObjectDetection(
            FasterRCNNConfig(backbone_config=ViTRVSAConfig(**NO_TABLES), id2label=NAMES, **WIDTHS)
        ),
        "oriented_rcnn": lambda: OrientedRCNNForOrientedObjectDetection(
            OrientedRCNNConfig(
                backbone_config=InternImageConfig(**INTERN), id2label=NAMES, **WIDTHS
            )
        ),
        "mask_rcnn": lambda: MaskRCNNForInstanceSegmentation(
            MaskRCNNConfig(
                backbone_config=ViTRVSAConfig(**NO_TABLES),
                id2label=NAMES,
                mask_hidden_size=8,
                mask_num_convs=2,
                **WIDTHS,
            )
        ),
        "retinanet": lambda: RetinaNetForObjectDetection(
            RetinaNetConfig(
                backbone_config=InternImageConfig(**INTERN),
                hidden_size=8,
                num_convs=2,
                id2label=NAMES,
            )
        ),
        "upernet": lambda: UperNetRSForSemanticSegmentation(
            UperNetRSConfig(backbone_config=ViTRVSAConfig(**VIT), hidden_size=16, id2label=NAMES)
        ),
        "siamese_unet": lambda: SiameseUNetForChangeDetection(
            SiameseUNetConfig(
                backbone_config=ViTRVSAConfig(**VIT, feature_variant="multi_depth"),
                hidden_sizes=[32, 16, 8, 8],
            )
        ),
        "mtp_pretraining": lambda: MTPForPreTraining(tiny_pretraining_config()),
    }
    return models[family]().eval()


TINY_FAMILIES = {
    "backbone": ("backbone", ""),
    "internimage": ("backbone", ""),
    "classifier": ("classifier", "backbone."),
    "internimage_classifier": ("classifier", "backbone."),
    "faster_rcnn": ("faster_rcnn", "backbone."),
    "oriented_rcnn": ("oriented_rcnn", "backbone."),
    "mask_rcnn": ("mask_rcnn", "backbone."),
    "retinanet": ("retinanet", "backbone."),
    "upernet": ("upernet", "backbone."),
    "siamese_unet": ("siamese_unet", "backbone."),
    "mtp_pretraining": ("mtp_pretraining", "encoder."),
}


def tiny_original(name: str) -> dict[str, torch.Tensor]:
    """The weights of `tiny_model` under the original's names."""
    model = tiny_model(name)
    return original_state_dict(model.state_dict(), model.config, *TINY_FAMILIES[name])
