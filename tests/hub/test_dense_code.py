"""The code beside the weights of dense models loads them where the package is not installed."""

import pytest
import torch

from mtp_hf.hub.bundle import AUTO_CLASSES, save_with_code
from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.image_processing_mtp import MTPImageProcessor
from mtp_hf.modeling.modeling_internimage import InternImageForImageClassification
from mtp_hf.modeling.modeling_siamese_unet import SiameseUNetForChangeDetection
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from mtp_hf.modeling.modeling_vit_rvsa_classification import ViTRVSAForImageClassification
from tests.tiny_models import TINY_BACKBONE
from tests.without_package import run_without_package

# Run in a process of its own: folder, Auto class.
REMOTE = """
import torch
import transformers
folder, auto_class = sys.argv[1:]
trusted = {"trust_remote_code": True}
processor = transformers.AutoImageProcessor.from_pretrained(folder, **trusted)
model = getattr(transformers, auto_class).from_pretrained(folder, **trusted).eval()
with torch.no_grad():
    logits = model(*torch.load(f"{folder}/images.pt")).logits
assert processor.size.height == 112
torch.save(logits, f"{folder}/logits.pt")
"""
WIDTHS = {"hidden_sizes": [16, 16, 16, 16]}


def _model(kind):
    """Build a tiny model with random weights."""
    if kind is InternImageForImageClassification:
        return kind(InternImageConfig(**INTERNIMAGE_SIZES["tiny"], num_labels=3))
    if kind is ViTRVSAForImageClassification:
        sizes = {k: v for k, v in TINY_BACKBONE.items() if k != "model_type"}
        return kind(ViTRVSAConfig(**sizes, num_labels=3))
    if kind is SiameseUNetForChangeDetection:
        return kind(SiameseUNetConfig(backbone_config=TINY_BACKBONE, **WIDTHS))
    return kind(UperNetRSConfig(backbone_config=TINY_BACKBONE, hidden_size=16, num_labels=3))


@pytest.mark.slow  # a fresh process imports transformers for each model
@pytest.mark.parametrize(
    "kind",
    [
        UperNetRSForSemanticSegmentation,
        SiameseUNetForChangeDetection,
        ViTRVSAForImageClassification,
        InternImageForImageClassification,
    ],
)
def test_model_gives_equal_logits_through_its_own_code(kind, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = _model(kind).eval()
    processor = MTPImageProcessor(size={"height": 112, "width": 112})
    save_with_code(model, processor, tmp_path)
    number = 2 if kind is SiameseUNetForChangeDetection else 1
    images = tuple(torch.randn(1, 3, 112, 112) for _ in range(number))
    torch.save(images, tmp_path / "images.pt")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_without_package(REMOTE, str(tmp_path), AUTO_CLASSES[kind], folder=tmp_path)
    with torch.no_grad():
        expected = model(*images).logits
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, rtol=1e-4, atol=1e-5)
