"""Claims about change detection."""

import pytest
import torch
from torch.nn import functional as F

from mtp_hf.modeling.auto_classes import AutoModelForChangeDetection
from mtp_hf.modeling.configuration_siamese_unet import SiameseUNetConfig
from mtp_hf.modeling.modeling_siamese_unet import SiameseUNetForChangeDetection
from tests.modeling.model_behaviour import ModelBehaviour
from tests.modeling.test_modeling_upernet_rs import TINY_RESNET
from tests.tiny_models import TINY_BACKBONE

FLAT_BACKBONE = {**TINY_BACKBONE, "feature_variant": "multi_depth"}


def _config(**overrides):
    values = {"backbone_config": FLAT_BACKBONE, "hidden_sizes": [16, 8, 8, 8], "dropout": 0.0}
    return SiameseUNetConfig(**values | overrides)


def _model(**overrides):
    return SiameseUNetForChangeDetection(_config(**overrides))


def _pairs(batch=2, side=112):
    """Images whose left half stays and whose right half becomes another, and the change maps."""
    before = torch.randn(batch, 3, side, side)
    after = before.clone()
    after[..., side // 2 :] = 3 * torch.randn(batch, 3, side, side - side // 2)
    labels = torch.zeros(batch, side, side, dtype=torch.int64)
    labels[:, :, side // 2 :] = 1
    return before, after, labels


class TestBehaviour(ModelBehaviour):
    model_class = SiameseUNetForChangeDetection
    auto_class = AutoModelForChangeDetection
    num_hidden_states = 10  # of two images

    def config(self, **overrides):
        return _config(**overrides)

    def inputs(self, batch=2):
        return {
            "pixel_values": torch.randn(batch, 3, 112, 112),
            "pixel_values_post": torch.randn(batch, 3, 112, 112),
        }

    def labels(self, batch=2):
        return torch.randint(0, 2, (batch, 112, 112))


def test_logits_are_twice_the_input_with_a_plain_vit():
    output = _model()(torch.randn(1, 3, 112, 128), torch.randn(1, 3, 112, 128))
    assert output.logits.shape == (1, 2, 224, 256)


def test_logits_have_the_input_size_with_a_pyramid():
    model = _model(backbone_config=TINY_RESNET)
    assert model(torch.randn(1, 3, 64, 96), torch.randn(1, 3, 64, 96)).logits.shape[2:] == (64, 96)


@torch.no_grad()
def test_maps_are_fused_by_their_absolute_difference():
    model = _model().eval()
    before, after, _ = _pairs(1)
    first = model.backbone(before).feature_maps
    second = model.backbone(after).feature_maps
    fused = tuple((x - y).abs() for x, y in zip(first, second, strict=True))
    logits = model.classifier(model.decoder(fused))
    torch.testing.assert_close(model(before, after).logits, logits)


@torch.no_grad()
def test_order_of_the_dates_does_not_matter():
    model, (before, after, _) = _model().eval(), _pairs(1)
    torch.testing.assert_close(model(before, after).logits, model(after, before).logits)


def test_loss_is_at_label_resolution_and_divided_by_all_pixels():
    model, (before, after, _) = _model().eval(), _pairs(1)
    labels = torch.randint(0, 2, (1, 48, 48))  # smaller than the image, as in OSCD
    labels[:, :10] = 255
    output = model(before, after, labels)
    logits = F.interpolate(output.logits, (48, 48), mode="bilinear", align_corners=False)
    picked = logits.log_softmax(1).gather(1, labels.where(labels < 2, 0)[:, None])[:, 0]
    torch.testing.assert_close(output.loss, -picked[labels < 2].sum() / labels.numel())


def test_labels_come_as_dicts_too():
    model, (before, after, labels) = _model().eval(), _pairs()
    expected = model(before, after, labels).loss
    found = model(before, after, labels=[{"change_labels": x} for x in labels]).loss
    assert torch.equal(found, expected)


@torch.no_grad()
def test_prediction_goes_by_the_input_size_to_the_target():
    model, (before, after, _) = _model().eval(), _pairs(1)
    found = model.predict(before, after, sizes=[(112, 112)], target_sizes=[(48, 48)])
    at_input = F.interpolate(model(before, after).logits, (112, 112), mode="bilinear")
    expected = F.interpolate(at_input, (48, 48), mode="bilinear").argmax(1)[0]
    assert torch.equal(found[0]["change_map"], expected)


def test_windows_cut_both_images_alike():
    model = _model().eval()
    before, after = torch.randn(1, 3, 128, 128), torch.randn(1, 3, 128, 128)
    whole = model.predict(before, after)[0]["change_map"]
    one = model.predict(before, after, window=(128, 128), stride=(128, 128))[0]["change_map"]
    assert torch.equal(one, whole)
    four = model.predict(before, after, window=(112, 112), stride=(100, 100))[0]["change_map"]
    assert four.shape == (128, 128)


def test_two_pairs_are_learned():
    model, (before, after, labels) = _model().train(), _pairs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(before, after, labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


def test_classes_are_named_by_default():
    assert SiameseUNetConfig().id2label == {0: "unchanged", 1: "changed"}
    assert SiameseUNetConfig(num_labels=4).num_labels == 4
    assert SiameseUNetConfig().backbone_config.feature_variant == "multi_depth"


def test_images_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 3, 112, 112\).*\(1, 3, 112, 128\)"):
        _model()(torch.zeros(1, 3, 112, 112), torch.zeros(1, 3, 112, 128))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_sizes": [8, 8, 8]}, "expected four"),
        ({"backbone_config": {**TINY_RESNET, "out_features": ["stage3", "stage4"]}}, "needs 4"),
    ],
)
def test_decoders_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(Exception, match=message):
        _model(**wrong)


def test_timm_backbone_fits():
    pytest.importorskip("timm")
    config = {
        "model_type": "timm_backbone",
        "backbone": "resnet18",
        "use_pretrained_backbone": False,
        "out_indices": [1, 2, 3, 4],
    }
    model = _model(backbone_config=config).train()
    before, after, labels = _pairs(1, side=64)
    model(before, after, labels).loss.backward()
    assert all(p.grad is not None for p in model.decoder.parameters())
