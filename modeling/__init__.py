"""Models of MTP: one flat folder, which is also the code that travels to the Hub with weights.

configuration_*       what a model is, as strict dataclasses
modeling_vit_rvsa     the backbone: plain ViT with rotated varied-size window attention
modeling_internimage  the other backbone: a hierarchy of deformable convolutions
backbones             the backbone that a configuration names
modeling_mtp          multi-task pretraining: backbone, three decoders, classifiers per data set
decoder_two_stage     Faster, Mask and Oriented R-CNN, shared over data sets
modeling_detection    what detection models share; modeling_*_rcnn and
                      modeling_retinanet: the models of boxes, masks and rotated boxes
neck_*, head_*        parts of decoders: a head has `forward`, `loss`, `predict`
modeling_dense_prediction  what labels pixels: modeling_upernet_rs, modeling_siamese_unet (changes)
layers_*, ops_*       convolution blocks, initial values; functions without parameters
auto_classes          Auto classes of tasks that transformers has none for
image_processing_*    images to network input, predictions back to image pixels
image_sizes           heights and widths as callers give them
convert_*             original weights under our names (stays at home)
"""

from .auto_classes import AutoModelForChangeDetection, AutoModelForOrientedObjectDetection
from .configuration_faster_rcnn import FasterRCNNConfig
from .configuration_internimage import InternImageConfig
from .configuration_mask_rcnn import MaskRCNNConfig
from .configuration_mtp import MTPPreTrainingConfig
from .configuration_oriented_rcnn import OrientedRCNNConfig
from .configuration_retinanet import RetinaNetConfig
from .configuration_siamese_unet import SiameseUNetConfig
from .configuration_upernet_rs import UperNetRSConfig
from .configuration_vit_rvsa import ViTRVSAConfig
from .image_processing_classification import ClassificationImageProcessor
from .image_processing_detection import (
    DetectionImageProcessor,
    InstanceSegmentationImageProcessor,
)
from .image_processing_mtp import MTPImageProcessor
from .image_processing_segmentation import (
    ChangeDetectionImageProcessor,
    SegmentationImageProcessor,
)
from .modeling_faster_rcnn import FasterRCNNForObjectDetection
from .modeling_internimage import (
    InternImageBackbone,
    InternImageForImageClassification,
    InternImageModel,
)
from .modeling_mask_rcnn import MaskRCNNForInstanceSegmentation
from .modeling_mtp import MTPForPreTraining
from .modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from .modeling_retinanet import RetinaNetForObjectDetection
from .modeling_siamese_unet import SiameseUNetForChangeDetection
from .modeling_upernet_rs import UperNetRSForSemanticSegmentation
from .modeling_vit_rvsa import ViTRVSABackbone, ViTRVSAModel
from .modeling_vit_rvsa_classification import ViTRVSAForImageClassification

# Model type -> classes that read it.
MODELS = {
    "mtp_vit_rvsa": (
        ViTRVSAConfig,
        ViTRVSAModel,
        ViTRVSABackbone,
        ViTRVSAForImageClassification,
    ),
    "mtp_internimage": (
        InternImageConfig,
        InternImageModel,
        InternImageBackbone,
        InternImageForImageClassification,
    ),
    "mtp_faster_rcnn": (FasterRCNNConfig, FasterRCNNForObjectDetection),
    "mtp_mask_rcnn": (MaskRCNNConfig, MaskRCNNForInstanceSegmentation),
    "mtp_oriented_rcnn": (OrientedRCNNConfig, OrientedRCNNForOrientedObjectDetection),
    "mtp_pretraining": (MTPPreTrainingConfig, MTPForPreTraining),
    "mtp_siamese_unet": (SiameseUNetConfig, SiameseUNetForChangeDetection),
    "mtp_retinanet": (RetinaNetConfig, RetinaNetForObjectDetection),
    "mtp_upernet": (UperNetRSConfig, UperNetRSForSemanticSegmentation),
}

__all__ = [
    "AutoModelForChangeDetection",
    "AutoModelForOrientedObjectDetection",
    "ChangeDetectionImageProcessor",
    "ClassificationImageProcessor",
    "DetectionImageProcessor",
    "FasterRCNNConfig",
    "FasterRCNNForObjectDetection",
    "InternImageBackbone",
    "InternImageConfig",
    "InternImageForImageClassification",
    "InternImageModel",
    "MODELS",
    "InstanceSegmentationImageProcessor",
    "MTPForPreTraining",
    "MTPImageProcessor",
    "MTPPreTrainingConfig",
    "MaskRCNNConfig",
    "MaskRCNNForInstanceSegmentation",
    "OrientedRCNNConfig",
    "OrientedRCNNForOrientedObjectDetection",
    "SegmentationImageProcessor",
    "SiameseUNetConfig",
    "SiameseUNetForChangeDetection",
    "RetinaNetConfig",
    "RetinaNetForObjectDetection",
    "UperNetRSConfig",
    "UperNetRSForSemanticSegmentation",
    "ViTRVSABackbone",
    "ViTRVSAConfig",
    "ViTRVSAForImageClassification",
    "ViTRVSAModel",
]
