"""Folders in Hub layout, such as the two that a run leaves: `encoder/` and `model/`.

Each is a whole repository and holds config, weights, image processor, card and pictures, and the
code of `modeling/` that the classes need (`auto_map` in the config), so that
`trust_remote_code=True` loads it where this package is not installed. Where it is installed, its
own classes are used.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import BaseImageProcessor, PreTrainedModel

from mtp_hf.hub.card import RunFacts, render_encoder_card, render_model_card
from mtp_hf.modeling.image_processing_mtp import MTPImageProcessor
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

ENCODER, MODEL, BEST = "encoder", "model", "best"
# Model -> Auto class that loads it through the code beside the weights; transformers has none for
# rotated boxes and changes.
AUTO_CLASSES: dict[type[PreTrainedModel], str] = {
    ViTRVSABackbone: "AutoBackbone",
    InternImageBackbone: "AutoBackbone",
    ViTRVSAForImageClassification: "AutoModelForImageClassification",
    InternImageForImageClassification: "AutoModelForImageClassification",
    FasterRCNNForObjectDetection: "AutoModelForObjectDetection",
    MaskRCNNForInstanceSegmentation: "AutoModelForInstanceSegmentation",
    RetinaNetForObjectDetection: "AutoModelForObjectDetection",
    OrientedRCNNForOrientedObjectDetection: "AutoModel",
    UperNetRSForSemanticSegmentation: "AutoModelForSemanticSegmentation",
    SiameseUNetForChangeDetection: "AutoModel",
    MTPForPreTraining: "AutoModelForPreTraining",
}
# The weights are saved as a backbone; the plain model reads them as well.
PLAIN_MODELS: dict[type[PreTrainedModel], str] = {
    ViTRVSABackbone: "modeling_vit_rvsa.ViTRVSAModel",
    InternImageBackbone: "modeling_internimage.InternImageModel",
}


def save_bundle(model: MTPForPreTraining, folder: Path, facts: RunFacts) -> list[Path]:
    """Write both folders.

    Args:
        model: the trained network.
        folder: gets `encoder` and `model`; holds the pictures named in `facts`.
        facts: what the cards tell.

    Returns:
        The two folders.
    """
    side = model.config.backbone_config.image_size
    processor = MTPImageProcessor(size={"height": side, "width": side})
    encoder_folder, model_folder = folder / ENCODER, folder / MODEL
    save_with_code(model.backbone, processor, encoder_folder)
    save_with_code(model, processor, model_folder)
    cards = {
        encoder_folder: render_encoder_card(facts, ENCODER),
        model_folder: render_model_card(facts, MODEL),
    }
    for target, card in cards.items():
        (target / "README.md").write_text(card, encoding="utf-8")
        for file in facts.pictures.values():
            shutil.copyfile(folder / file, target / file)
    return [encoder_folder, model_folder]


def save_with_code(model: PreTrainedModel, processor: BaseImageProcessor, folder: Path) -> None:
    """Write config, weights, image processor and the code that they need, but no card."""
    kind = type(model)
    shipped = {
        "AutoConfig": type(model.config),
        AUTO_CLASSES[kind]: kind,
        "AutoImageProcessor": type(processor),
    }
    with _code_shipped(shipped):
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    vars(model.config).pop("auto_map", None)
    if kind in PLAIN_MODELS:
        _extend(folder / "config.json", auto_map={"AutoModel": PLAIN_MODELS[kind]})
    # Else pipelines look for a processor of videos in the code, and ask whether they may run it.
    _extend(folder / "preprocessor_config.json", video_processor_type="none")


@contextlib.contextmanager
def _code_shipped(classes: dict[str, Any]) -> Iterator[None]:
    """Let `save_pretrained` copy the code of these classes, and forget it afterwards."""
    for auto_class, shipped in classes.items():
        shipped.register_for_auto_class(auto_class)
    try:
        yield
    finally:
        for shipped in classes.values():
            shipped._auto_class = None


def _extend(config_file: Path, **entries: Any) -> None:
    """Add entries to a JSON file; those of a dict that is there join it."""
    config = json.loads(config_file.read_text(encoding="utf-8"))
    for name, value in entries.items():
        config[name] = config.get(name, {}) | value if isinstance(value, dict) else value
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
