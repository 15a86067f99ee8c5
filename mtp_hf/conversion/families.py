"""The kinds of checkpoints of the original, told by their keys.

One row of `FAMILIES` for each: which keys tell it, what its keys outside the backbone are called
here, and which fields of our config its shapes give.

Source: original spec 1.5 (variants of the backbone), 2.1, 3.0 (prefixes).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from transformers import PreTrainedConfig, PreTrainedModel

from mtp_hf.conversion.backbones import BACKBONE_KINDS, Shapes
from mtp_hf.conversion.heads import (
    Fields,
    retinanet_fields,
    siamese_unet_fields,
    two_stage_fields,
    upernet_fields,
)
from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_retinanet import RetinaNetConfig
from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.convert_dense_heads import (
    CHANGE_HEAD_TABLE,
    CLASSIFICATION_HEAD_TABLE,
    SEGMENTATION_HEAD_TABLE,
)
from mtp_hf.modeling.convert_detectors import RETINANET_TABLE, TWO_STAGE_DETECTOR_TABLE
from mtp_hf.modeling.convert_mtp_checkpoint import RenameTable
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


@dataclass(frozen=True)
class Family:
    """A kind of checkpoint.

    Args:
        title: for people.
        models: our model, or one for each kind of backbone.
        mark: pattern of a key that tells it.
        config_class: of our model, around that of the backbone; None where that is all there is.
        also: what else must hold, where the mark is not enough.
        table: original names outside the backbone -> ours.
        head_fields: from shapes to fields of the config.
        prefixes: of the backbone in the original; "" where its keys are bare.
        feature_variant: of a vision transformer; None where its keys tell.
    """

    title: str
    models: type[PreTrainedModel] | Mapping[str, type[PreTrainedModel]]
    mark: str
    config_class: type[PreTrainedConfig] | None = None
    also: Callable[[Shapes], bool] = lambda shapes: True
    table: RenameTable = ()
    head_fields: Callable[[Shapes], Fields] = lambda shapes: {}
    prefixes: tuple[str, ...] = ("backbone.",)
    feature_variant: str | None = None

    @property
    def model_is_backbone(self) -> bool:
        """Whether there is nothing around the backbone."""
        return self.config_class is None and not self.table

    def model_class(self, backbone: str) -> type[PreTrainedModel]:
        """Return our class for a kind of backbone."""
        return self.models[backbone] if isinstance(self.models, Mapping) else self.models


def _has_masks(shapes: Shapes) -> bool:
    return any(key.startswith("roi_head.mask_head.") for key in shapes)


def _is_oriented(shapes: Shapes) -> bool:
    """Whether proposals have six numbers instead of four."""
    anchors, numbers = (
        shapes.get(f"rpn_head.rpn_{name}.weight", ())[:1] for name in ("cls", "reg")
    )
    return anchors > (0,) and numbers == (6 * anchors[0],)


_BOX_CLASSIFIER = r"roi_head\.bbox_head\.fc_cls\.weight"
_ANY_PREFIX = r"(backbone\.|encoder\.)?"

# The first row that fits counts: what is nothing but a backbone comes last.
FAMILIES: dict[str, Family] = {
    "mtp_pretraining": Family(
        "MTP multi-task model",
        MTPForPreTraining,
        r"(semsegdecoder|inssegdecoder|rotdetdecoder)\..*",
        MTPPreTrainingConfig,
        prefixes=("encoder.",),
    ),
    "faster_rcnn": Family(
        "Faster R-CNN of mmdetection",
        FasterRCNNForObjectDetection,
        _BOX_CLASSIFIER,
        FasterRCNNConfig,
        also=lambda shapes: not _is_oriented(shapes) and not _has_masks(shapes),
        table=TWO_STAGE_DETECTOR_TABLE,
        head_fields=two_stage_fields,
    ),
    "oriented_rcnn": Family(
        "Oriented R-CNN of mmrotate",
        OrientedRCNNForOrientedObjectDetection,
        _BOX_CLASSIFIER,
        OrientedRCNNConfig,
        also=_is_oriented,
        table=TWO_STAGE_DETECTOR_TABLE,
        head_fields=two_stage_fields,
    ),
    "mask_rcnn": Family(
        "Mask R-CNN of mmdetection",
        MaskRCNNForInstanceSegmentation,
        _BOX_CLASSIFIER,
        MaskRCNNConfig,
        also=_has_masks,
        table=TWO_STAGE_DETECTOR_TABLE,
        head_fields=two_stage_fields,
    ),
    "retinanet": Family(
        "RetinaNet of mmdetection",
        RetinaNetForObjectDetection,
        r"bbox_head\.retina_cls\.weight",
        RetinaNetConfig,
        table=RETINANET_TABLE,
        head_fields=retinanet_fields,
    ),
    "upernet": Family(
        "UPerNet of mmsegmentation",
        UperNetRSForSemanticSegmentation,
        r"decode_head\.psp_modules\..*",
        UperNetRSConfig,
        table=SEGMENTATION_HEAD_TABLE,
        head_fields=upernet_fields,
        feature_variant="multi_depth_pyramid",
    ),
    "siamese_unet": Family(
        "siamese UNet of Open-CD",
        SiameseUNetForChangeDetection,
        r"decode_head\.blocks\.\d+\.conv1\.0\.weight",
        SiameseUNetConfig,
        table=CHANGE_HEAD_TABLE,
        head_fields=siamese_unet_fields,
        feature_variant="multi_depth",
    ),
    "classifier": Family(
        "classifier of mmpretrain",
        {
            "vit_rvsa": ViTRVSAForImageClassification,
            "internimage": InternImageForImageClassification,
        },
        r"head\.fc\.(weight|bias)",
        table=CLASSIFICATION_HEAD_TABLE,
        feature_variant="multi_depth",
    ),
    "backbone": Family(
        "backbone",
        {"vit_rvsa": ViTRVSABackbone, "internimage": InternImageBackbone},
        _ANY_PREFIX + r"(" + "|".join(kind.mark for kind in BACKBONE_KINDS.values()) + ")",
        prefixes=("encoder.", "backbone.", ""),
    ),
}


def recognise_family(shapes: Shapes) -> str:
    """Return the row of `FAMILIES` that a checkpoint belongs to.

    Raises:
        ValueError: none of them.
    """
    for name, family in FAMILIES.items():
        if any(re.fullmatch(family.mark, key) for key in shapes) and family.also(shapes):
            return name
    raise ValueError(
        f"a checkpoint of another architecture: its {len(shapes)} keys begin with "
        f"{', '.join(list(shapes)[:4])}; expected one of "
        + ", ".join(family.title for family in FAMILIES.values())
    )


def backbone_prefix(family: Family, shapes: Shapes) -> str:
    """Return what the keys of the backbone begin with.

    Raises:
        ValueError: no key begins so.
    """
    for prefix in family.prefixes:
        if any(key.startswith(prefix) for key in shapes):
            return prefix
    raise ValueError(f"{family.title} without a backbone: no key begins with {family.prefixes[0]}")
