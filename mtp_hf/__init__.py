"""MTP, the multi-task-pretrained remote-sensing foundation model, for the Hugging Face ecosystem.

`import mtp_hf` registers the models with the Auto classes of transformers; after it
`AutoModel.from_pretrained` knows them. Data, training and drawing are imported on first use.
"""

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# In a checkout `modeling/`, `dataset_scripts/` and `training/` are siblings of this folder; an
# installed package has them inside it. Extending the path makes both spell `mtp_hf.modeling`.
_root = Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").is_file() and (_root / "modeling" / "__init__.py").is_file():
    __path__.append(str(_root))

from mtp_hf.modeling import (  # noqa: E402  (needs the path above)
    AutoModelForChangeDetection,
    AutoModelForOrientedObjectDetection,
    ChangeDetectionImageProcessor,
    ClassificationImageProcessor,
    DetectionImageProcessor,
    FasterRCNNConfig,
    FasterRCNNForObjectDetection,
    InstanceSegmentationImageProcessor,
    InternImageBackbone,
    InternImageConfig,
    InternImageForImageClassification,
    InternImageModel,
    MaskRCNNConfig,
    MaskRCNNForInstanceSegmentation,
    MTPForPreTraining,
    MTPImageProcessor,
    MTPPreTrainingConfig,
    OrientedRCNNConfig,
    OrientedRCNNForOrientedObjectDetection,
    RetinaNetConfig,
    RetinaNetForObjectDetection,
    SegmentationImageProcessor,
    SiameseUNetConfig,
    SiameseUNetForChangeDetection,
    UperNetRSConfig,
    UperNetRSForSemanticSegmentation,
    ViTRVSABackbone,
    ViTRVSAConfig,
    ViTRVSAForImageClassification,
    ViTRVSAModel,
)

# Public names of parts that not every user needs -> the module that holds them.
_LAZY = {
    "convert_checkpoint": "mtp_hf.conversion.folder",
    "load_pretraining_decoder": "mtp_hf.conversion.decoder_reuse",
    "restore_original": "mtp_hf.conversion.original",
    "demo_root": "mtp_hf.dataset_scripts.demo",
    "draw_comparison": "mtp_hf.visualize.samples",
    "draw_sample": "mtp_hf.visualize.samples",
    "load_dataset": "mtp_hf.dataset_scripts.loading",
    "predict": "mtp_hf.pipelines.prediction",
    "load_change_folder": "mtp_hf.dataset_scripts.own_data",
    "load_classification_folder": "mtp_hf.dataset_scripts.own_data",
    "load_detection_folder": "mtp_hf.dataset_scripts.own_data",
    "load_oriented_detection_folder": "mtp_hf.dataset_scripts.own_data",
    "load_segmentation_folder": "mtp_hf.dataset_scripts.own_data",
}

__all__ = [
    "AutoModelForChangeDetection",
    "AutoModelForOrientedObjectDetection",
    "ChangeDetectionImageProcessor",
    "ClassificationImageProcessor",
    "DetectionImageProcessor",
    "FasterRCNNConfig",
    "InstanceSegmentationImageProcessor",
    "FasterRCNNForObjectDetection",
    "InternImageBackbone",
    "InternImageConfig",
    "InternImageForImageClassification",
    "InternImageModel",
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
    *_LAZY,
]


def __getattr__(name: str) -> Any:
    """Import a lazy public name."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
