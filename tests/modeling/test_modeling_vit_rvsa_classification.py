"""Claims about the scene classifier."""

import pytest
import torch
from transformers import AutoModelForImageClassification

from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone, ViTRVSAModel
from mtp_hf.modeling.modeling_vit_rvsa_classification import ViTRVSAForImageClassification
from tests.modeling.model_behaviour import ModelBehaviour
from tests.tiny_models import TINY_BACKBONE


def _config(**overrides):
    values = {k: v for k, v in TINY_BACKBONE.items() if k != "model_type"}
    values |= {"feature_variant": "multi_depth", "num_labels": 3}
    return ViTRVSAConfig(**values | overrides)


class TestBehaviour(ModelBehaviour):
    model_class = ViTRVSAForImageClassification
    auto_class = AutoModelForImageClassification

    def config(self, **overrides):
        return _config(**overrides)

    def inputs(self, batch=2):
        return {"pixel_values": torch.randn(batch, 3, 112, 112)}

    def labels(self, batch=2):
        return torch.randint(0, 3, (batch,))


@torch.no_grad()
def test_logits_are_linear_in_the_mean_of_the_raw_last_block():
    model = ViTRVSAForImageClassification(_config()).eval()
    output = model(torch.randn(2, 3, 112, 128), output_hidden_states=True)
    expected = model.classifier(output.hidden_states[-1].mean(1))
    assert output.logits.shape == (2, 3)
    torch.testing.assert_close(output.logits, expected)


def test_loss_is_the_mean_cross_entropy():
    model = ViTRVSAForImageClassification(_config()).eval()
    images, labels = torch.randn(2, 3, 112, 112), torch.tensor([2, 0])
    output = model(images, labels=labels, num_items_in_batch=2)
    picked = output.logits.log_softmax(1)[torch.arange(2), labels]
    torch.testing.assert_close(output.loss, -picked.mean())


def test_classifier_starts_small_and_unbiased():
    layer = ViTRVSAForImageClassification(_config(num_labels=200)).classifier
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1) and not layer.bias.any()


def test_two_scenes_are_learned():
    model = ViTRVSAForImageClassification(_config(num_labels=2)).train()
    images, labels = torch.randn(2, 3, 112, 112), torch.tensor([0, 1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(10):
        loss = model(images, labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert model.eval()(images).logits.argmax(1).tolist() == [0, 1]


def test_names_of_the_classes_decide_their_number():
    names = {0: "forest", 1: "river", 2: "highway", 3: "port"}
    config = _config(num_labels=4, id2label=names, label2id={v: k for k, v in names.items()})
    assert ViTRVSAForImageClassification(config).classifier.out_features == 4


@pytest.mark.parametrize("saved", [ViTRVSABackbone, ViTRVSAModel])
def test_encoder_gives_everything_but_the_classifier(saved, tmp_path):
    encoder = saved(_config(feature_variant="multi_depth_pyramid"))
    encoder.save_pretrained(tmp_path)
    model, report = ViTRVSAForImageClassification.from_pretrained(
        tmp_path, num_labels=4, output_loading_info=True
    )
    assert set(report["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert not report["unexpected_keys"] and model.classifier.out_features == 4
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], tensor), name


def test_classifier_gives_its_encoder_back(tmp_path):
    model = ViTRVSAForImageClassification(_config())
    model.save_pretrained(tmp_path)
    encoder, report = ViTRVSAModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], tensor), name
