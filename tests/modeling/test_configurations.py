import pytest

from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_retinanet import RetinaNetConfig
from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from tests.tiny_models import TINY_BACKBONE, tiny_pretraining_config

DETECTORS = [FasterRCNNConfig, MaskRCNNConfig, OrientedRCNNConfig, RetinaNetConfig]


@pytest.mark.parametrize("cls", [*DETECTORS, UperNetRSConfig])
def test_misspelt_field_is_refused_by_name(cls):
    with pytest.raises(TypeError, match="hiden_size"):
        cls(hiden_size=3)


def test_misspelt_field_of_a_nested_decoder_is_refused():
    with pytest.raises(TypeError, match="hiden_size"):
        tiny_pretraining_config(instance_config={"hiden_size": 3})


def test_round_trip_keeps_everything(tmp_path):
    config = tiny_pretraining_config()
    config.save_pretrained(tmp_path)
    again = MTPPreTrainingConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert again.rotated_config.nms_iou == 0.1 and again.instance_config.nms_iou == 0.5


def test_rotated_decoder_has_its_own_published_values():
    config = OrientedRCNNConfig()
    assert (config.rpn_allowed_border, config.train_post_nms, config.max_detections) == (
        0,
        2000,
        2000,
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dataset_tasks": {"sior": ["ss"]}}, "same data sets"),
        ({"class_names": {"a.b": ["x"]}}, "a.b"),
        ({"class_names": {"a": []}}, "no class"),
        ({"class_names": {"a": ["x"]}, "dataset_tasks": {"a": ["od"]}}, "od"),
        ({"class_names": {"a": ["x"]}, "dataset_tasks": {"a": []}}, "tasks of a"),
    ],
)
def test_impossible_data_sets_are_refused(wrong, message):
    with pytest.raises(Exception, match=message):
        tiny_pretraining_config(**wrong)


def test_maps_where_no_decoder_looks_are_refused():
    backbone = {**TINY_BACKBONE, "feature_variant": "multi_depth"}
    with pytest.raises(Exception, match=r"strides \[16, 16, 16, 16\]"):
        tiny_pretraining_config(backbone_config=backbone)


def test_order_of_the_data_sets_survives_saving(tmp_path):
    names = {"zeta": ["a"], "alpha": ["b"]}
    tiny_pretraining_config(class_names=names).save_pretrained(tmp_path)
    assert MTPPreTrainingConfig.from_pretrained(tmp_path).datasets == ["zeta", "alpha"]


@pytest.mark.parametrize("cls", DETECTORS)
def test_a_detector_refuses_a_backbone_of_other_strides(cls):
    backbone = {**TINY_BACKBONE, "feature_variant": "multi_depth"}
    with pytest.raises(Exception, match=r"strides \[16, 16, 16, 16\], but mtp_.* \[4, 8, 16, 32\]"):
        cls(backbone_config=backbone)
    assert cls(backbone_config=backbone, strides=[16] * 4).backbone_config.hidden_size == 32


def test_horizontal_detector_has_the_published_values_of_finetuning():
    config, pretraining = FasterRCNNConfig(), MaskRCNNConfig()
    assert not config.box_match_low_quality and pretraining.box_match_low_quality
    assert (config.rpn_pad_divisor, pretraining.rpn_pad_divisor) == (32, 0)
    assert (config.test_pre_nms, config.test_post_nms, config.max_detections) == (1000, 1000, 100)


@pytest.mark.parametrize("wrong", [{"start_level": 4}, {"num_extra_levels": 0}])
def test_a_pyramid_without_maps_is_refused(wrong):
    with pytest.raises(Exception, match=f"{next(iter(wrong))} {next(iter(wrong.values()))}: expec"):
        RetinaNetConfig(**wrong)


@pytest.mark.parametrize("cls", [UperNetRSConfig, SiameseUNetConfig])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"test_window": 512}, "give both or none"),
        ({"test_window": 512, "test_stride": 600}, "expected 1 to test_window=512"),
        ({"test_window": 512, "test_stride": 0}, "test_stride=0"),
    ],
)
def test_windows_that_leave_pixels_out_are_refused(cls, wrong, message):
    with pytest.raises(Exception, match=message):
        cls(**wrong)
