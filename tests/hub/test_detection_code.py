"""The code beside a detection model's weights loads it where the package is not installed."""

import pytest
import torch

from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_retinanet import RetinaNetConfig
from mtp_hf.modeling.image_processing_detection import DetectionImageProcessor
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from mtp_hf.modeling.modeling_retinanet import RetinaNetForObjectDetection
from tests.tiny_models import TINY_BACKBONE, TINY_TWO_STAGE
from tests.without_package import run_without_package

REMOTE = """
import torch
import transformers
folder, auto_class = sys.argv[1:]
trusted = {"trust_remote_code": True}
processor = transformers.AutoImageProcessor.from_pretrained(folder, **trusted)
model = getattr(transformers, auto_class).from_pretrained(folder, **trusted).eval()
scores = model(torch.load(f"{folder}/images.pt")).scores
assert processor.size.height == 112
torch.save(scores, f"{folder}/scores.pt")
"""


@pytest.mark.parametrize(
    ("model_class", "config_class", "sizes", "auto_class"),
    [
        (OrientedRCNNForOrientedObjectDetection, OrientedRCNNConfig, TINY_TWO_STAGE, "AutoModel"),
        (
            RetinaNetForObjectDetection,
            RetinaNetConfig,
            {"hidden_size": 16, "num_convs": 1},
            "AutoModelForObjectDetection",
        ),
    ],
)
def test_model_and_processor_travel_with_their_code(
    model_class, config_class, sizes, auto_class, tmp_path, monkeypatch
):
    for shipped, name in (
        (config_class, "AutoConfig"),
        (model_class, auto_class),
        (DetectionImageProcessor, "AutoImageProcessor"),
    ):
        monkeypatch.setattr(shipped, "_auto_class", name)
    config = config_class(
        backbone_config=TINY_BACKBONE, score_threshold=0.0, max_detections=5, **sizes
    )
    model = model_class(config).eval()
    model.save_pretrained(tmp_path)
    DetectionImageProcessor(size={"height": 112, "width": 112}).save_pretrained(tmp_path)
    images = torch.randn(1, 3, 112, 112)
    torch.save(images, tmp_path / "images.pt")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_without_package(REMOTE, str(tmp_path), auto_class, folder=tmp_path)
    found = torch.load(tmp_path / "scores.pt")
    torch.testing.assert_close(found, model(images).scores, rtol=1e-4, atol=1e-5)
