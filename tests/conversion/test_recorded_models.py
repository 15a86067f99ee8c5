"""Recorded checkpoints, converted by file name alone, predict what the original predicted."""

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    AutoModelForPreTraining,
    AutoModelForSemanticSegmentation,
)

from mtp_hf.conversion.folder import convert_checkpoint
from mtp_hf.data.collate import normalize_images
from mtp_hf.modeling.modeling_internimage import InternImageBackbone
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from tests.parity.recordings import Recording, recorded_weights, unmatched_besides_ties


@pytest.fixture
def convert(shared_dir, tmp_path):
    """Write a recording's weights as a training program does, convert them, return the folder."""

    def write(name: str, dataset: str | None = None):
        recording = Recording(shared_dir / "fixtures", name)
        weights = recording.under("state_dict")
        if not weights:
            salt = recording.meta["weights"].split("salt ")[1]
            weights = recorded_weights(shared_dir / "fixtures", recording.meta["keys"], salt)
        torch.save({"state_dict": weights, "optimizer": {}, "epoch": 1}, tmp_path / "x.pth")
        convert_checkpoint(tmp_path / "x.pth", tmp_path / name, dataset=dataset)
        return tmp_path / name, recording

    return write


def _pixels(images):
    """Normalise recorded 8-bit BGR images (B, 3, H, W)."""
    return normalize_images(images.flip(1), [tuple(images.shape[-2:])] * len(images))


def _assert_detections(expected, found, boxes):
    missing = unmatched_besides_ties(expected, found[boxes], found["scores"], found["labels"])
    assert len(missing) <= 0.01 * len(expected["scores"])
    assert abs(len(found["scores"]) - len(expected["scores"])) <= 0.01 * len(expected["scores"])


@pytest.mark.parametrize(
    ("name", "backbone", "maps"),
    [
        ("rvsa_pretrain_112", ViTRVSABackbone, "out/feat"),
        ("rvsa_ft_seg", ViTRVSABackbone, "out/feat"),
        ("internimage_64x64", InternImageBackbone, "feat"),
    ],
)
@torch.no_grad()
def test_backbones_make_the_recorded_maps(convert, name, backbone, maps):
    folder, recording = convert(name)
    found = backbone.from_pretrained(folder).eval()(recording["input"]).feature_maps
    assert len(found) == 4
    for level, each in enumerate(found):
        torch.testing.assert_close(each, recording[f"{maps}/{level}"], rtol=0, atol=1e-4)
    assert type(AutoModel.from_pretrained(folder)).__name__.endswith("Model")


@torch.no_grad()
def test_classifier_gives_the_recorded_scores(convert):
    folder, recording = convert("ft_cls_eurosat_vit", "eurosat")
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    logits = model(_pixels(recording["image"])).logits
    torch.testing.assert_close(logits, recording["eval/logits"], rtol=0, atol=1e-4)
    assert model.config.id2label[9] == "SeaLake"


@torch.no_grad()
def test_segmentation_gives_the_recorded_logits(convert):
    folder, recording = convert("ft_upernet_loveda_vit", "loveda")
    model = AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
    logits = model(_pixels(recording["image"])).logits
    torch.testing.assert_close(logits, recording["eval/head_logits"], rtol=0, atol=1e-4)
    assert model.config.id2label[6] == "agricultural"


def test_detector_finds_the_recorded_objects(convert):
    folder, recording = convert("ft_faster_rcnn_dior_vit", "DIOR")
    model = AutoModelForObjectDetection.from_pretrained(folder).eval()
    images = torch.stack([recording[f"eval/batch/image/{i}"] for i in range(2)])
    for i, found in enumerate(model.predict(_pixels(images), target_sizes=[(160, 160)] * 2)):
        _assert_detections(recording.under(f"eval/pred/{i}"), found, "boxes")


def test_multi_task_model_predicts_what_was_recorded(convert):
    folder, recording = convert("mtp_small_vit")
    model = AutoModelForPreTraining.from_pretrained(folder).eval()
    assert model.config.datasets == ["sota_rbb", "sior", "fast"]
    images = torch.stack([recording[f"eval/batch/{n}/image/0"] for n in range(3)])
    found = model.predict(_pixels(images), model.config.datasets, target_sizes=[(160, 160)] * 3)
    for number, prediction in enumerate(found):
        expected = recording[f"eval/ss/pred/{number}/0"].long()
        assert (prediction["ss"]["semantic_map"] != expected).float().mean() <= 1e-3
        for task, boxes in (("is", "boxes"), ("rd", "rotated_boxes")):
            recorded = recording.under(f"eval/{task}/{number}/0")
            _assert_detections(recorded, prediction[task], boxes)
