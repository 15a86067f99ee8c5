"""Claims about InternImage: the classifier as a model of transformers, the backbone, its start."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoBackbone, AutoModel, AutoModelForImageClassification

from mtp_hf.modeling.configuration_internimage import INTERNIMAGE_SIZES, InternImageConfig
from mtp_hf.modeling.modeling_internimage import (
    DeformableConvV3,
    InternImageBackbone,
    InternImageForImageClassification,
    InternImageLayer,
    InternImageModel,
)
from tests.modeling.model_behaviour import ModelBehaviour

TINY = {"embed_dim": 16, "depths": [1, 2], "num_groups": [2, 4], "drop_path_rate": 0.0}
WITHOUT_POST_NORM = {"post_norm": False, "layer_scale_init_value": None, "offset_scale": 1.0}


def _config(**overrides):
    return InternImageConfig(**(TINY | {"num_labels": 3} | overrides))


def _backbone(**overrides):
    """A backbone whose branches count and whose taps move."""
    torch.manual_seed(1)
    backbone = InternImageBackbone(_config(**overrides)).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone


class TestBehaviour(ModelBehaviour):
    model_class = InternImageForImageClassification
    auto_class = AutoModelForImageClassification
    num_hidden_states = 3  # the stem and two stages

    def config(self, **overrides):
        return _config(**overrides)

    def inputs(self, batch=2):
        return {"pixel_values": torch.randn(batch, 3, 64, 64)}

    def labels(self, batch=2):
        return torch.randint(0, 3, (batch,))


@torch.no_grad()
def test_logits_are_linear_in_the_mean_of_the_last_stage():
    model = InternImageForImageClassification(_config()).eval()
    image = torch.randn(2, 3, 64, 48)
    output = model(image, output_hidden_states=True)
    assert [tuple(x.shape) for x in output.hidden_states] == [
        (2, 16, 16, 12),
        (2, 16, 16, 12),
        (2, 32, 8, 6),
    ]
    encoded = model.backbone(image)
    assert torch.equal(encoded.last_hidden_state, output.hidden_states[-1])
    expected = model.classifier(encoded.last_hidden_state.mean((2, 3)))
    torch.testing.assert_close(output.logits, expected)
    torch.testing.assert_close(encoded.pooler_output, encoded.last_hidden_state.mean((2, 3)))


def test_loss_is_the_mean_cross_entropy():
    model = InternImageForImageClassification(_config()).eval()
    images, labels = torch.randn(2, 3, 64, 64), torch.tensor([2, 0])
    output = model(images, labels=labels, num_items_in_batch=2)
    picked = output.logits.log_softmax(1)[torch.arange(2), labels]
    torch.testing.assert_close(output.loss, -picked.mean())


def test_two_scenes_are_learned():
    torch.manual_seed(0)
    config = _config(num_labels=2, layer_scale_init_value=0.1)
    model = InternImageForImageClassification(config).train()
    images, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(12):
        loss = model(images, labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert model.eval()(images).logits.argmax(1).tolist() == [0, 1]


# The backbone


@torch.no_grad()
@pytest.mark.parametrize("overrides", [{}, WITHOUT_POST_NORM])
def test_saved_backbone_computes_the_same(tmp_path, overrides):
    backbone, image = _backbone(**overrides), torch.randn(1, 3, 40, 32)
    backbone.save_pretrained(tmp_path)
    again, report = InternImageBackbone.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    for one, two in zip(
        again.eval()(image).feature_maps, backbone(image).feature_maps, strict=True
    ):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_configuration_leads_to_the_backbone():
    assert type(AutoBackbone.from_config(_config())) is InternImageBackbone


def test_backbone_model_and_classifier_share_their_weights(tmp_path):
    backbone = _backbone()
    backbone.save_pretrained(tmp_path)
    encoder, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(encoder) is InternImageModel and not report["missing_keys"]
    model, report = InternImageForImageClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert set(report["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert not report["unexpected_keys"]
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], tensor), name
        assert torch.equal(model.backbone.state_dict()[name], tensor), name


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(37, 50), (64, 64), (1, 9)])
def test_maps_of_any_input_have_its_size_rounded_up(height, width):
    backbone = _backbone(out_indices=[0, 1, 2])
    maps = backbone(torch.randn(1, 3, height, width)).feature_maps
    for one, stride, channels in zip(
        maps, backbone.config.map_strides, backbone.channels, strict=True
    ):
        assert one.shape == (1, channels, -(-height // stride), -(-width // stride))
        assert one.isfinite().all()
    assert backbone.channels == [16, 16, 32]


@torch.no_grad()
def test_chosen_maps_are_those_of_all_maps():
    everything, last = _backbone(out_indices=[0, 1, 2]), _backbone(out_features=["stage2"])
    last.load_state_dict(everything.state_dict())
    image = torch.randn(1, 3, 32, 32)
    (found,) = last(image).feature_maps
    assert torch.equal(found, everything(image).feature_maps[2])


@torch.no_grad()
def test_four_channels_are_all_seen():
    backbone, image = _backbone(num_channels=4), torch.randn(1, 4, 32, 32)
    before = backbone(image).feature_maps[0]
    image[:, 3] += 1
    assert (backbone(image).feature_maps[0] - before).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("overrides", [{}, WITHOUT_POST_NORM])
def test_bf16_maps_stay_near_float32(overrides):
    backbone, image = _backbone(**overrides), torch.randn(1, 3, 64, 64)
    expected = backbone(image).feature_maps
    found = backbone.to(torch.bfloat16)(image).feature_maps
    for one, two in zip(found, expected, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one.float() - two).abs().mean() < 0.05 * two.abs().mean()


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("overrides", [{}, WITHOUT_POST_NORM])
def test_gradients_reach_image_and_every_parameter(overrides, checkpointing):
    backbone = _backbone(**overrides).train()
    if checkpointing:
        backbone.activation_checkpointing_enable()
    image = torch.randn(1, 3, 32, 32, requires_grad=True)
    sum(x.square().sum() for x in backbone(image).feature_maps).backward()
    for name, tensor in [("image", image), *backbone.named_parameters()]:
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0, name


@torch.no_grad()
def test_stages_end_with_a_norm_only_without_post_norm():
    names = [name for name in _backbone().state_dict() if name.startswith("stages.1.norm")]
    assert names == []
    backbone = InternImageBackbone(_config(**WITHOUT_POST_NORM)).eval()
    assert not any("layer_scale" in name for name in backbone.state_dict())
    last = backbone(torch.randn(1, 3, 64, 64)).feature_maps[-1]
    torch.testing.assert_close(last.mean(1), torch.zeros(1, 8, 8), atol=1e-5, rtol=0)
    torch.testing.assert_close(last.var(1, unbiased=False), torch.ones(1, 8, 8), atol=1e-3, rtol=0)


# How training starts


def test_classifier_starts_small_and_unbiased():
    layer = InternImageForImageClassification(_config(num_labels=200)).classifier
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1) and not layer.bias.any()


@torch.no_grad()
def test_taps_start_as_a_plain_mean():
    module = InternImageBackbone(_config()).stages[0].layers[0].dcn
    assert isinstance(module, DeformableConvV3)
    x = torch.randn(1, 9, 9, 16)
    values = module.input_proj(x)
    # Nine taps two pixels apart.
    mean = torch.stack([values[:, 4 + i, 4 + j] for i in (-2, 0, 2) for j in (-2, 0, 2)]).mean(0)
    torch.testing.assert_close(module(x)[:, 4, 4], module.output_proj(mean), atol=1e-5, rtol=1e-4)


def test_layers_start_as_the_paper_has_them():
    backbone = InternImageBackbone(_config(embed_dim=64, layer_scale_init_value=1e-4))
    for layer in (m for m in backbone.modules() if isinstance(m, InternImageLayer)):
        assert (layer.layer_scale1 == 1e-4).all() and (layer.layer_scale2 == 1e-4).all()
        assert layer.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
        channels = len(layer.norm1.weight)
        xavier = (1 / channels) ** 0.5
        assert layer.dcn.input_proj.weight.std().item() == pytest.approx(xavier, rel=0.05)
        assert not layer.dcn.offset.weight.any() and not layer.dcn.mask.bias.any()
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias") and "conv" not in name:
            assert not parameter.any(), name


@pytest.mark.parametrize("overrides", [{}, WITHOUT_POST_NORM])
def test_missing_weights_start_like_new_ones(tmp_path, overrides):
    torch.manual_seed(0)
    backbone = InternImageBackbone(_config(**overrides))
    backbone.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({"embeddings.norm1.weight": torch.ones(8)}, file, metadata={"format": "pt"})
    again, report = InternImageBackbone.from_pretrained(tmp_path, output_loading_info=True)
    assert len(report["missing_keys"]) == len(weights) - 1
    for name, tensor in again.state_dict().items():
        spread = weights[name].std().item()
        assert tensor.std().item() == pytest.approx(spread, rel=0.6, abs=1e-6), name


def test_whole_branches_are_dropped_more_often_in_later_layers():
    backbone = InternImageBackbone(_config(drop_path_rate=0.4))
    layers = [m for m in backbone.modules() if isinstance(m, InternImageLayer)]
    assert [layer.drop_path.p for layer in layers] == pytest.approx([0, 0.2, 0.4])
    layer = layers[-1].train()
    x = torch.randn(1, 4, 4, 32)
    torch.nn.init.ones_(layer.layer_scale1)
    torch.nn.init.ones_(layer.layer_scale2)
    unchanged = sum(torch.equal(layer(x), x) for _ in range(200))
    assert 0.4**2 - 0.1 < unchanged / 200 < 0.4**2 + 0.1


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("backbone.embeddings.conv1.weight", 0),
        ("stages.0.layers.0.norm1.weight", 1),
        ("stages.1.downsample.conv.weight", 2),
        ("stages.1.layers.1.layer_scale2", 3),
        ("stages.1.norm.weight", 3),
        ("classifier.weight", 4),
    ],
)
def test_depth_of_a_parameter_counts_layers_through_all_stages(name, depth):
    assert InternImageBackbone(_config()).layer_id(name) == depth


@pytest.mark.parametrize(
    ("size", "millions"), [("T", 30), ("S", 50), ("B", 97), ("L", 223), ("XL", 335)]
)
def test_sizes_have_the_published_number_of_parameters(size, millions):
    with torch.device("meta"):
        config = InternImageConfig(**INTERNIMAGE_SIZES[size], num_labels=1000)
        model = InternImageForImageClassification(config)
    # Published with the layers before the classifier that are left out here, up to 3.3 million.
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert millions - 5 < count < millions + 1
