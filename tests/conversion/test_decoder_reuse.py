"""Claims about starting finetuning from the multi-task model."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from mtp_hf.conversion.decoder_reuse import load_pretraining_decoder
from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_faster_rcnn import FasterRCNNForObjectDetection
from mtp_hf.modeling.modeling_mask_rcnn import MaskRCNNForInstanceSegmentation
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from tests.conversion.tiny_originals import VIT, WIDTHS, tiny_model, tiny_original
from tests.tiny_models import tiny_pretraining_config

MASKS = {"mask_hidden_size": 16, "mask_num_convs": 1}
MODELS = {
    "faster": (FasterRCNNForObjectDetection, FasterRCNNConfig, WIDTHS, "is"),
    "mask": (MaskRCNNForInstanceSegmentation, MaskRCNNConfig, WIDTHS | MASKS, "is"),
    "oriented": (OrientedRCNNForOrientedObjectDetection, OrientedRCNNConfig, WIDTHS, "rd"),
    "upernet": (UperNetRSForSemanticSegmentation, UperNetRSConfig, {"hidden_size": 16}, "ss"),
}


def _model(name, image_size=112, **fields):
    model_class, config_class, widths, task = MODELS[name]
    backbone = ViTRVSAConfig(**VIT | {"image_size": image_size})
    torch.manual_seed(5)
    return model_class(
        config_class(backbone_config=backbone, num_labels=5, **widths | fields)
    ), task


@pytest.fixture(scope="module")
def pretrained():
    torch.manual_seed(1)
    return MTPForPreTraining(tiny_pretraining_config()).eval()


@pytest.mark.parametrize("name", MODELS)
def test_backbone_and_decoder_of_the_task_are_taken_and_classifiers_are_not(name, pretrained):
    model, task = _model(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    source = pretrained.state_dict()
    report = load_pretraining_decoder(model, source)
    own = model.state_dict()
    for key, value in own.items():
        origin = key.replace("decoder.", f"decoders.{task}.", 1) if key.startswith("deco") else key
        if key.startswith("classifier"):
            assert torch.equal(value, before[key]) and key in report.fresh
        else:
            assert torch.equal(value, source[origin]) and key in report.taken, key
    assert set(report.not_taken.values()) <= {
        "classifiers of the data sets of pretraining",
        "decoder of another task",
        "the finetuning model has no such parameter",  # the masks, for Faster R-CNN
    }
    assert len(report.taken) + len(report.not_taken) == len(source)
    assert "classifier" in report.summary().splitlines()[-1]


def test_position_tables_are_resized_to_the_input_size_of_finetuning(pretrained):
    model, _ = _model("oriented", image_size=160)
    report = load_pretraining_decoder(model, pretrained.state_dict())
    assert "backbone.embeddings.position_embeddings" in report.resized
    assert "backbone.layers.1.attention.rel_pos_h" in report.resized
    assert [name for name in report.fresh if name.startswith("backbone.")] == []


def test_width_that_differs_is_told_by_name(pretrained):
    model, _ = _model("upernet", hidden_size=32)
    report = load_pretraining_decoder(model, pretrained.state_dict())
    assert not any(name == "decoder.fusion.conv.weight" for name in report.taken)
    reason = report.not_taken["decoders.ss.fusion.conv.weight"]
    assert reason == "(16, 64, 3, 3) in pretraining, (32, 128, 3, 3) here"


def test_counters_of_averages_that_do_not_fit_are_not_taken(pretrained):
    model, _ = _model("upernet", hidden_size=32)
    by_name = dict(sorted(pretrained.state_dict().items()))  # as safetensors stores them
    report = load_pretraining_decoder(model, by_name)
    assert [name for name in report.taken if name.startswith("decoder.")] == []


def test_folder_and_original_file_are_read(pretrained, tmp_path):
    pretrained.save_pretrained(tmp_path / "model")
    torch.save({"state_dict": tiny_original("mtp_pretraining")}, tmp_path / "x.pth")
    for source in ("model", "x.pth"):
        model, _ = _model("upernet")
        report = load_pretraining_decoder(model, tmp_path / source)
        assert len(report.fresh) == 2


def test_a_folder_that_lacks_a_weight_is_refused_by_name(pretrained, tmp_path):
    pretrained.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["decoders.ss.fusion.conv.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"missing keys: decoders\.ss\.fusion\.conv\.weight"):
        load_pretraining_decoder(_model("upernet")[0], tmp_path)


def test_models_and_sources_without_the_decoder_are_refused(pretrained):
    with pytest.raises(ValueError, match="ViTRVSABackbone has no decoder of pretraining"):
        load_pretraining_decoder(tiny_model("backbone"), pretrained.state_dict())
    rest = {k: v for k, v in pretrained.state_dict().items() if not k.startswith("decoders.rd")}
    with pytest.raises(ValueError, match=r"decoders\.rd\.\* is missing"):
        load_pretraining_decoder(_model("oriented")[0], rest)
