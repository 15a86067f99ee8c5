"""Names of backbones and architectures in recipes, and the network that a recipe describes.

Source: which variant of the ViT belongs to which head, original spec 1.5; stochastic depth, 3.0.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import BaseImageProcessor, PreTrainedConfig, PreTrainedModel

from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_retinanet import RetinaNetConfig
from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES, ViTRVSAConfig
from mtp_hf.modeling.image_processing_classification import ClassificationImageProcessor
from mtp_hf.modeling.image_processing_detection import DetectionImageProcessor
from mtp_hf.modeling.image_processing_segmentation import (
    ChangeDetectionImageProcessor,
    SegmentationImageProcessor,
)
from mtp_hf.modeling.modeling_faster_rcnn import FasterRCNNForObjectDetection
from mtp_hf.modeling.modeling_internimage import InternImageForImageClassification
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from mtp_hf.modeling.modeling_retinanet import RetinaNetForObjectDetection
from mtp_hf.modeling.modeling_siamese_unet import SiameseUNetForChangeDetection
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from mtp_hf.modeling.modeling_vit_rvsa_classification import ViTRVSAForImageClassification
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.foreign_backbones import (
    TIMM,
    check_input_size,
    foreign_config,
    is_foreign,
)
from mtp_hf.training.strict_dataclass import unknown_name

# Name -> config class and fields of the size.
BACKBONES: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    **{
        f"vit_{letter}_rvsa": (ViTRVSAConfig, VIT_RVSA_SIZES[size] | {"drop_path_rate": 0.3})
        for letter, size in (("t", "tiny"), ("b", "base"), ("l", "large"))
    },
    **{
        f"internimage_{size.lower()}": (InternImageConfig, fields | {"drop_path_rate": 0.2})
        for size, fields in INTERNIMAGE_SIZES.items()
    },
}


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A kind of model.

    Args:
        models: backbone's config class, or None for any, -> model.
        config_class: of a model around a backbone; None where the backbone's config is all.
        processor: of its images.
        vit_fields: of the ViT's config: which maps the head reads.
    """

    models: Mapping[type[PreTrainedConfig] | None, type[PreTrainedModel]]
    config_class: type[PreTrainedConfig] | None
    processor: type[BaseImageProcessor]
    vit_fields: Mapping[str, Any]


_PYRAMID = {"feature_variant": "multi_depth_pyramid"}
_DETECTION = _PYRAMID | {"use_full_attention_rel_pos": False}
_SAME_STRIDE = {"feature_variant": "multi_depth"}

ARCHITECTURES: dict[str, Architecture] = {
    "linear": Architecture(
        {
            ViTRVSAConfig: ViTRVSAForImageClassification,
            InternImageConfig: InternImageForImageClassification,
        },
        None,
        ClassificationImageProcessor,
        _SAME_STRIDE,
    ),
    "faster_rcnn": Architecture(
        {None: FasterRCNNForObjectDetection}, FasterRCNNConfig, DetectionImageProcessor, _DETECTION
    ),
    "retinanet": Architecture(
        {None: RetinaNetForObjectDetection}, RetinaNetConfig, DetectionImageProcessor, _DETECTION
    ),
    "oriented_rcnn": Architecture(
        {None: OrientedRCNNForOrientedObjectDetection},
        OrientedRCNNConfig,
        DetectionImageProcessor,
        _DETECTION,
    ),
    "upernet": Architecture(
        {None: UperNetRSForSemanticSegmentation},
        UperNetRSConfig,
        SegmentationImageProcessor,
        _PYRAMID,
    ),
    "siamese_unet": Architecture(
        {None: SiameseUNetForChangeDetection},
        SiameseUNetConfig,
        ChangeDetectionImageProcessor,
        _SAME_STRIDE,
    ),
}


def build_network(recipe: FinetuneRecipe, class_names: Sequence[str]) -> PreTrainedModel:
    """Make the network of a recipe with random weights.

    Args:
        recipe: `model` and `data.image_size`, the native size of position tables.
        class_names: K names, in label order.

    Raises:
        ValueError: no such architecture or backbone, or a field that its config lacks.
    """
    model = recipe.model
    architecture = find_architecture(model.architecture)
    labels = dict(enumerate(class_names))
    own: dict[str, Any] = {"id2label": labels, "label2id": {name: i for i, name in labels.items()}}
    if recipe.evaluation.window is not None:  # prediction reads images as evaluation does
        own |= {"test_window": recipe.evaluation.window, "test_stride": recipe.evaluation.stride}
    own |= model.head
    if architecture.config_class is None:  # one config has both
        config = backbone = build_backbone_config(recipe, **own)
    else:
        backbone = build_backbone_config(recipe)
        try:
            config = architecture.config_class(backbone_config=backbone, **own)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise ValueError(f"recipe {recipe.name}: model.head: {error}") from error
    model_class = architecture.models.get(type(backbone), architecture.models.get(None))
    assert model_class is not None
    network = model_class(config)
    if recipe.efficiency.activation_checkpointing:
        network.activation_checkpointing_enable()
    return network


def build_backbone_config(recipe: FinetuneRecipe, **own: Any) -> PreTrainedConfig:
    """Make the config of the backbone of a recipe.

    Args:
        recipe: `model` and `data.image_size`.
        own: fields of an architecture that has no other config.

    Raises:
        ValueError: no such backbone, one that does not go with the architecture or the layer-wise
            decay, or a field that its config lacks.
    """
    name, architecture = recipe.model.backbone, find_architecture(recipe.model.architecture)
    if name not in BACKBONES:
        return _foreign_config(recipe, architecture)
    backbone_class, size = BACKBONES[name]
    fields = dict(size)
    if backbone_class is ViTRVSAConfig:
        fields |= {"image_size": recipe.data.image_size, **architecture.vit_fields}
    fields |= recipe.model.backbone_overrides
    try:
        return backbone_class(**fields, **own)
    except (TypeError, ValueError, StrictDataclassError) as error:
        section = "backbone_overrides" + " or model.head" * bool(own)
        raise ValueError(f"recipe {recipe.name}: model.{section}: {error}") from error


def _foreign_config(recipe: FinetuneRecipe, architecture: Architecture) -> PreTrainedConfig:
    name, layer_decay = recipe.model.backbone, recipe.optimizer.layer_decay
    if not is_foreign(name):
        raise ValueError(unknown_name(f"model.backbone={name}", "backbone", name, BACKBONES))
    if None not in architecture.models:
        raise ValueError(
            f"model.architecture={recipe.model.architecture} goes with backbones of this package,"
            f" got model.backbone={name}"
        )
    if layer_decay != 1.0:
        raise ValueError(
            f"optimizer.layer_decay={layer_decay}: {name} does not tell the depth of its"
            " parameters; expected 1.0"
        )
    if recipe.efficiency.activation_checkpointing and name.startswith(TIMM):
        raise ValueError(
            f"efficiency.activation_checkpointing: backbones of timm do not do it, got {name}"
        )
    try:
        config = foreign_config(name, recipe.model.backbone_overrides)
        check_input_size(name, recipe.data.image_size, recipe.evaluation.window)
        return config
    except ValueError as error:
        raise ValueError(f"recipe {recipe.name}: {error}") from error


def find_architecture(name: str) -> Architecture:
    """Look an architecture up.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in ARCHITECTURES:
        where = f"model.architecture={name}"
        raise ValueError(unknown_name(where, "architecture", name, ARCHITECTURES))
    return ARCHITECTURES[name]
