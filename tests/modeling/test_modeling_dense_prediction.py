"""Claims about what dense task models share; whole models are tested in their own files."""

import pytest
import torch

from mtp_hf.modeling.modeling_dense_prediction import stack_label_maps
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from tests.modeling.test_modeling_upernet_rs import _config

MAPS = torch.tensor([[[0, 1]], [[255, 2]]])


def _model(**overrides):
    return UperNetRSForSemanticSegmentation(_config(**overrides))


def test_maps_are_stacked_and_become_int64():
    labels = [{"change_labels": x} for x in MAPS.to(torch.uint8)]
    stacked = stack_label_maps(labels, "change_labels")
    assert torch.equal(stacked, MAPS) and stacked.dtype == torch.int64
    assert stack_label_maps(MAPS.int(), "change_labels").dtype == torch.int64


def test_missing_map_is_named_with_its_image():
    with pytest.raises(ValueError, match="image tile-7 lack semantic_labels"):
        stack_label_maps([{"image_id": "tile-7", "change_labels": MAPS[0]}], "semantic_labels")


def test_maps_of_different_sizes_are_refused_with_their_sizes():
    labels = [{"semantic_labels": torch.zeros(2, 3)}, {"semantic_labels": torch.zeros(2, 4)}]
    with pytest.raises(ValueError, match=r"semantic_labels.*\(2, 3\), \(2, 4\)"):
        stack_label_maps(labels, "semantic_labels")


def test_finetuned_head_starts_as_the_original():
    torch.manual_seed(0)
    model = _model(hidden_size=64, num_labels=20)
    last = model.classifier.classifier
    assert last.weight.std().item() == pytest.approx(0.01, rel=0.1) and not last.bias.any()
    fusion = model.decoder.fusion.conv.weight  # Kaiming normal, fan out
    assert fusion.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)


def test_window_without_stride_is_refused():
    with pytest.raises(ValueError, match="give both or none"):
        _model().predict(torch.randn(1, 3, 112, 112), window=(112, 112))


def test_configuration_can_ask_for_hidden_states():
    model = _model(output_hidden_states=True).eval()
    images = torch.randn(1, 3, 112, 112)
    assert len(model(images).hidden_states) == 5
    assert model(images, output_hidden_states=False).hidden_states is None


def test_loss_is_zero_and_connected_where_all_is_ignored():
    model = _model()
    output = model(torch.randn(1, 3, 112, 112), torch.full((1, 112, 112), 255))
    output.loss.backward()
    assert output.loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.classifier.parameters())


def test_prediction_averages_resized_logits_of_windows():
    model = _model().eval()
    image = torch.randn(1, 3, 112, 144)
    total, count = torch.zeros(1, 3, 112, 144), torch.zeros(112, 144)
    with torch.no_grad():
        for left in (0, 20, 32):  # 40 would begin after the last place
            logits = model(image[..., left : left + 112]).logits
            size = (112, 112)
            total[..., left : left + 112] += torch.nn.functional.interpolate(
                logits, size, mode="bilinear"
            )
            count[:, left : left + 112] += 1
    found = model.predict(image, window=(112, 112), stride=(112, 20))[0]["semantic_map"]
    assert torch.equal(found, (total / count).argmax(1)[0])
