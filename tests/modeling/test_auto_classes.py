"""Claims about the Auto classes of our own."""

import pytest
from transformers import ResNetConfig

from mtp_hf.modeling.auto_classes import AutoModelForOrientedObjectDetection
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from tests.tiny_models import TINY_BACKBONE, TINY_TWO_STAGE


def test_oriented_models_come_from_their_configuration():
    config = OrientedRCNNConfig(backbone_config=TINY_BACKBONE, **TINY_TWO_STAGE)
    model = AutoModelForOrientedObjectDetection.from_config(config)
    assert type(model) is OrientedRCNNForOrientedObjectDetection


def test_models_of_other_tasks_are_refused():
    with pytest.raises(ValueError, match="AutoModelForOrientedObjectDetection"):
        AutoModelForOrientedObjectDetection.from_config(ResNetConfig())
