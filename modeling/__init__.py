"""Models of MTP: one flat folder, which is also the code that travels to the Hub with weights.

configuration_*       what a model is, as strict dataclasses
modeling_vit_rvsa     the backbone: plain ViT with rotated varied-size window attention
backbones             the backbone that a configuration names
modeling_mtp          multi-task pretraining: backbone, three decoders, classifiers per data set
decoder_two_stage     Mask R-CNN and Oriented R-CNN, shared over data sets
neck_*, head_*        parts of decoders: a head has `forward`, `loss`, `predict`
modeling_upernet_rs   semantic segmentation; modeling_dense_prediction: what labels pixels shares
layers_*, ops_*       convolution blocks, initial values; functions without parameters
image_processing_*    images to network input, predictions back to image pixels
convert_*             original weights under our names (stays at home)
"""

from .configuration_mtp import MTPPreTrainingConfig
from .configuration_upernet_rs import UperNetRSConfig
from .configuration_vit_rvsa import ViTRVSAConfig
from .image_processing_mtp import MTPImageProcessor
from .modeling_mtp import MTPForPreTraining
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
    "mtp_pretraining": (MTPPreTrainingConfig, MTPForPreTraining),
    "mtp_upernet": (UperNetRSConfig, UperNetRSForSemanticSegmentation),
}

__all__ = [
    "MODELS",
    "MTPForPreTraining",
    "MTPImageProcessor",
    "MTPPreTrainingConfig",
    "UperNetRSConfig",
    "UperNetRSForSemanticSegmentation",
    "ViTRVSABackbone",
    "ViTRVSAConfig",
    "ViTRVSAForImageClassification",
    "ViTRVSAModel",
]
