"""Segmentation and classification models against recordings of the original's finetuning."""

import pytest
import torch

from mtp_hf.data.collate import normalize_images
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.convert_dense_heads import (
    CLASSIFICATION_HEAD_TABLE,
    SEGMENTATION_HEAD_TABLE,
)
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from mtp_hf.modeling.modeling_vit_rvsa_classification import ViTRVSAForImageClassification
from tests.original_names import rename_keys, rename_vit_rvsa_keys
from tests.parity.recordings import Recording

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "full_attention_interval": 2,
    "drop_path_rate": 0.0,
}


def _rename(weights, table):
    """Backbone and head of a finetuned model under our names."""
    head = {key: x for key, x in weights.items() if not key.startswith("backbone.")}
    backbone = rename_vit_rvsa_keys(weights, "backbone.", new_prefix="backbone.")
    if table is CLASSIFICATION_HEAD_TABLE:  # the original keeps layers that it never runs
        backbone = {k: x for k, x in backbone.items() if not k.startswith("backbone.pyramid.")}
    return backbone | rename_keys(head, table)


def _pixels(images):
    """Normalise recorded 8-bit BGR images."""
    return normalize_images(images.flip(1), [tuple(images.shape[-2:])] * len(images))


def _assert_gradients(recording, model, table):
    """Compare norms of all recorded gradients, relative, and of zero ones absolutely."""
    recorded = recording.meta["grad_checksums"]["train"]
    norms = _rename({key: torch.tensor(norm) for key, (norm, _) in recorded.items()}, table)
    parameters = dict(model.named_parameters())
    assert norms.keys() == {k for k, p in parameters.items() if p.grad is not None}
    for name, norm in norms.items():
        found = float(parameters[name].grad.double().norm())
        assert found == pytest.approx(float(norm), rel=1e-3, abs=1e-6), name


@pytest.fixture(scope="module")
def segmentation(shared_dir):
    return Recording(shared_dir / "fixtures", "ft_upernet_loveda_vit")


@pytest.fixture
def segmentation_model(segmentation):
    backbone = {"model_type": "mtp_vit_rvsa", "image_size": 128, "out_indices": [1, 2, 3, 4]}
    config = UperNetRSConfig(
        backbone_config=backbone | SMALL, hidden_size=32, num_labels=7, dropout=0.0
    )
    model = UperNetRSForSemanticSegmentation(config).eval()
    model.load_state_dict(_rename(segmentation.under("state_dict"), SEGMENTATION_HEAD_TABLE))
    return model


def test_segmentation_loss_gradients_and_statistics_equal_the_original(
    segmentation, segmentation_model
):
    model = segmentation_model.train()
    loss = model(_pixels(segmentation["image"]), segmentation["label"].long()).loss
    assert loss.item() == pytest.approx(segmentation.meta["loss_total"]["train"], rel=1e-5)
    loss.backward()
    _assert_gradients(segmentation, model, SEGMENTATION_HEAD_TABLE)
    statistics = rename_keys(segmentation.under("train/bn_running"), SEGMENTATION_HEAD_TABLE)
    assert len(statistics) == 4
    for name, expected in statistics.items():
        torch.testing.assert_close(model.get_buffer(name), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_segmentation_logits_and_maps_equal_the_original(segmentation, segmentation_model):
    pixel_values = _pixels(segmentation["image"])
    logits = segmentation_model(pixel_values).logits
    torch.testing.assert_close(logits, segmentation["eval/head_logits"], atol=1e-4, rtol=0)
    maps = torch.stack([x["semantic_map"] for x in segmentation_model.predict(pixel_values)])
    wrong = maps != segmentation["eval/whole/pred"].long()
    assert wrong.float().mean() <= 1e-3


@torch.no_grad()
def test_sliding_windows_predict_what_the_original_predicts(segmentation, segmentation_model):
    setting = segmentation.meta["slide"]
    found = segmentation_model.predict(
        _pixels(segmentation["eval/slide/image"]),
        window=(setting["window"], setting["window"]),
        stride=(setting["stride"], setting["stride"]),
    )
    wrong = found[0]["semantic_map"] != segmentation["eval/slide/pred"][0].long()
    assert wrong.float().mean() <= 1e-3


@pytest.fixture(scope="module")
def classification(shared_dir):
    return Recording(shared_dir / "fixtures", "ft_cls_eurosat_vit")


@pytest.fixture
def classification_model(classification):
    config = ViTRVSAConfig(
        **SMALL,
        image_size=112,
        out_indices=[1, 2, 3, 4],
        feature_variant="multi_depth",
        num_labels=10,
    )
    model = ViTRVSAForImageClassification(config).eval()
    model.load_state_dict(_rename(classification.under("state_dict"), CLASSIFICATION_HEAD_TABLE))
    return model


def test_classification_loss_and_gradients_equal_the_original(classification, classification_model):
    model = classification_model.train()
    loss = model(_pixels(classification["image"]), classification["label"]).loss
    assert loss.item() == pytest.approx(classification.meta["loss_total"]["train"], rel=1e-5)
    loss.backward()
    _assert_gradients(classification, model, CLASSIFICATION_HEAD_TABLE)


@torch.no_grad()
def test_class_scores_equal_the_original(classification, classification_model):
    pixel_values = _pixels(classification["image"])
    recorded = classification["eval/normalized_every_8th"]
    torch.testing.assert_close(pixel_values[..., ::8, ::8], recorded, atol=1e-5, rtol=0)
    logits = classification_model(pixel_values).logits
    torch.testing.assert_close(logits, classification["eval/logits"], atol=1e-4, rtol=0)
    torch.testing.assert_close(logits.softmax(1), classification["eval/scores"], atol=1e-5, rtol=0)
    assert torch.equal(logits.argmax(1, keepdim=True), classification["eval/labels"])


@torch.no_grad()
def test_raw_maps_of_the_classification_variant_equal_the_original(
    classification, classification_model
):
    backbone = ViTRVSABackbone(classification_model.config).eval()
    backbone.load_state_dict(classification_model.backbone.state_dict())
    for level, x in enumerate(backbone(_pixels(classification["image"])).feature_maps):
        pooled = classification[f"eval/pooled/{level}"]
        torch.testing.assert_close(x.mean((2, 3)), pooled, atol=1e-4, rtol=0)
