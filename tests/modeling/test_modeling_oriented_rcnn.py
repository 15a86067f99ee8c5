"""Claims about Oriented R-CNN."""

import pytest
import torch
from transformers import AutoModel

from mtp_hf.modeling.auto_classes import AutoModelForOrientedObjectDetection
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from tests.modeling.detection_behaviour import DetectionBehaviour
from tests.tiny_models import TINY_BACKBONE, TINY_TWO_STAGE, make_label


class TestBehaviour(DetectionBehaviour):
    model_class = OrientedRCNNForOrientedObjectDetection
    config_class = OrientedRCNNConfig
    auto_class = AutoModelForOrientedObjectDetection


def _model(**overrides):
    values = {"backbone_config": TINY_BACKBONE, "num_labels": 3, **TINY_TWO_STAGE}
    return OrientedRCNNForOrientedObjectDetection(OrientedRCNNConfig(**values | overrides))


@pytest.mark.parametrize(
    ("num_labels", "parameters"),
    [(20, 17_665_583), (37, 17_683_008), (15, 17_660_458), (18, 17_663_533)],
)
def test_published_detectors_have_as_many_parameters_as_the_original(num_labels, parameters):
    base = {"model_type": "mtp_vit_rvsa", "image_size": 800}
    with torch.device("meta"):
        model = OrientedRCNNForOrientedObjectDetection(
            OrientedRCNNConfig(backbone_config=base, num_labels=num_labels)
        )
    parts = (*model.decoder.parameters(), *model.classifier.parameters())
    assert sum(p.numel() for p in parts) == parameters  # original spec 3.0


def test_all_classes_share_one_box():
    assert _model().classifier.box.regressor.out_features == 5


def test_rotated_boxes_follow_the_convention():
    model = _model(score_threshold=0.0, max_detections=50).eval()
    boxes = model.predict(torch.randn(1, 3, 112, 112))[0]["rotated_boxes"]
    assert len(boxes) and (boxes[:, 2] >= boxes[:, 3]).all()
    assert (boxes[:, 4] >= -torch.pi / 2).all() and (boxes[:, 4] < torch.pi / 2).all()
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] <= 111).all()  # centres stay inside


def test_horizontal_labels_are_not_taken_for_rotated_ones():
    label = make_label("x", 1)
    del label["rotated_boxes"]
    with pytest.raises(ValueError, match="lacks rotated_boxes"):
        _model()(torch.randn(1, 3, 112, 112), labels=[label])


def test_plain_auto_class_loads_it_too(tmp_path):
    _model().save_pretrained(tmp_path)
    assert isinstance(AutoModel.from_pretrained(tmp_path), OrientedRCNNForOrientedObjectDetection)
