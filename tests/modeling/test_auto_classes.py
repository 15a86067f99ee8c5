"""Claims about the Auto classes of our own."""

import pytest
from transformers import AutoModel, AutoModelForObjectDetection, ResNetConfig
from transformers.pipelines import ObjectDetectionPipeline

from mtp_hf.modeling.auto_classes import AutoModelForOrientedObjectDetection
from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.image_processing_detection import DetectionImageProcessor
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from mtp_hf.modeling.modeling_siamese_unet import SiameseUNetForChangeDetection
from tests.tiny_models import TINY_BACKBONE, TINY_TWO_STAGE


def test_oriented_models_come_from_their_configuration():
    config = OrientedRCNNConfig(backbone_config=TINY_BACKBONE, **TINY_TWO_STAGE)
    model = AutoModelForOrientedObjectDetection.from_config(config)
    assert type(model) is OrientedRCNNForOrientedObjectDetection


def test_models_of_other_tasks_are_refused():
    with pytest.raises(ValueError, match="AutoModelForOrientedObjectDetection"):
        AutoModelForOrientedObjectDetection.from_config(ResNetConfig())


def test_models_of_changes_are_found_without_naming_the_task():
    flat = {**TINY_BACKBONE, "feature_variant": "multi_depth"}
    config = SiameseUNetConfig(backbone_config=flat, hidden_sizes=[16, 12, 8, 8])
    assert type(AutoModel.from_config(config)) is SiameseUNetForChangeDetection


def test_pipelines_do_not_call_a_model_unsupported(monkeypatch):
    config = FasterRCNNConfig(backbone_config=TINY_BACKBONE, **TINY_TWO_STAGE)
    said = []
    monkeypatch.setattr("transformers.pipelines.base.logger.error", said.append)
    ObjectDetectionPipeline(
        model=AutoModelForObjectDetection.from_config(config),
        image_processor=DetectionImageProcessor(),
    )
    assert said == []
