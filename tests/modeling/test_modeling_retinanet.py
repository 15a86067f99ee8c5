"""Claims about RetinaNet."""

import math

import torch
from transformers import AutoModelForObjectDetection

from mtp_hf.modeling.configuration_retinanet import RetinaNetConfig
from mtp_hf.modeling.modeling_retinanet import RetinaNetForObjectDetection
from tests.modeling.detection_behaviour import SIDE, DetectionBehaviour
from tests.tiny_models import TINY_BACKBONE

TINY = {"hidden_size": 16, "num_convs": 1, "test_pre_nms": 50, "anchor_scales": [2, 3]}


class TestBehaviour(DetectionBehaviour):
    model_class = RetinaNetForObjectDetection
    config_class = RetinaNetConfig
    auto_class = AutoModelForObjectDetection
    sizes = TINY
    loss_names = ("loss_class", "loss_box")
    # The finest map is not read.
    without_gradient = frozenset(
        f"backbone.pyramid.quarter_stride.{i}.{name}"
        for i in (0, 1, 3)
        for name in ("weight", "bias")
    )


def _model(**overrides):
    values = {"backbone_config": TINY_BACKBONE, "num_labels": 3, **TINY}
    return RetinaNetForObjectDetection(RetinaNetConfig(**values | overrides))


def test_published_detector_has_as_many_parameters_as_the_original():
    base = {"model_type": "mtp_vit_rvsa", "image_size": 416}
    with torch.device("meta"):
        config = RetinaNetConfig(backbone_config=base, num_labels=60)
        model = RetinaNetForObjectDetection(config)
    assert sum(p.numel() for p in model.neck.parameters()) == 4_720_640  # original spec 3.0
    assert sum(p.numel() for p in model.head.parameters()) == 6_048_320


def test_five_levels_of_the_published_strides_and_nine_anchors():
    config = RetinaNetConfig()
    assert config.pyramid_strides == (8, 16, 32, 64, 128)
    model = _model(anchor_scales=config.anchor_scales)
    assert model.head.anchors.num_anchors == 9
    pyramid = model.neck(model.backbone(torch.randn(1, 3, 128, 128)).feature_maps)
    assert [x.shape[-1] for x in pyramid] == [16, 8, 4, 2, 1]


def test_objects_begin_as_one_percent_probable():
    model = _model()
    bias = torch.full_like(model.head.classifier.bias, -math.log(99))
    torch.testing.assert_close(model.head.classifier.bias.detach(), bias)
    assert not model.head.regressor.bias.any() and not model.neck.extra_convs[0].bias.any()
    scores = model.eval()(torch.randn(1, 3, SIDE, SIDE)).scores
    assert scores.numel() == 0  # none above the threshold of 0.05
