"""The two folders that a run leaves: `encoder/` and `model/`, each a whole Hub repository.

Each holds config, weights, image processor, card and pictures, and the code of `modeling/` that the
classes need (`auto_map` in the config), so that `trust_remote_code=True` loads it where this
package is not installed. Where it is installed, its own classes are used.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtp_hf.hub.card import RunFacts, render_encoder_card, render_model_card
from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.image_processing_mtp import MTPImageProcessor
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone

ENCODER, MODEL = "encoder", "model"
# Auto class -> class of the code beside the weights.
SHIPPED_ENCODER: dict[str, Any] = {
    "AutoConfig": ViTRVSAConfig,
    "AutoBackbone": ViTRVSABackbone,
    "AutoImageProcessor": MTPImageProcessor,
}
SHIPPED_MODEL: dict[str, Any] = {
    "AutoConfig": MTPPreTrainingConfig,
    "AutoModelForPreTraining": MTPForPreTraining,
    "AutoImageProcessor": MTPImageProcessor,
}
# The weights are saved as a backbone; the plain model reads them as well.
ENCODER_AUTO_MAP = {"AutoModel": "modeling_vit_rvsa.ViTRVSAModel"}


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
    with _code_shipped(SHIPPED_ENCODER):
        model.backbone.save_pretrained(encoder_folder)
        processor.save_pretrained(encoder_folder)
    vars(model.backbone.config).pop("auto_map", None)
    with _code_shipped(SHIPPED_MODEL):
        model.save_pretrained(model_folder)
        processor.save_pretrained(model_folder)
    vars(model.config).pop("auto_map", None)
    _extend_auto_map(encoder_folder / "config.json", ENCODER_AUTO_MAP)
    cards = {
        encoder_folder: render_encoder_card(facts, ENCODER),
        model_folder: render_model_card(facts, MODEL),
    }
    for target, card in cards.items():
        (target / "README.md").write_text(card, encoding="utf-8")
        for file in facts.pictures.values():
            shutil.copyfile(folder / file, target / file)
    return [encoder_folder, model_folder]


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


def _extend_auto_map(config_file: Path, entries: dict[str, str]) -> None:
    config = json.loads(config_file.read_text(encoding="utf-8"))
    config["auto_map"] |= entries
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
