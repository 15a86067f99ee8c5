import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoBackbone, AutoModel

from mtp_hf.modeling import modeling_vit_rvsa
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES, ViTRVSAConfig
from mtp_hf.modeling.modeling_vit_rvsa import (
    FullAttention,
    RotatedVariedSizeWindowAttention,
    ViTRVSABackbone,
    ViTRVSAModel,
)

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "full_attention_interval": 2,
    "image_size": 128,
    "drop_path_rate": 0.0,
}
SAMPLING = ("sampling_offsets", "sampling_scales", "sampling_angles")


def _config(**overrides):
    return ViTRVSAConfig(**{**SMALL, **overrides})


def _randomise(module, std=0.3):
    """Give every parameter a value, so that zero tables hide nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)
    return module


def _backbone(**overrides):
    backbone = ViTRVSABackbone(_config(**overrides)).eval()
    return _randomise(backbone, 0.1)


def _window_attention(**biases):
    """Attention whose windows all have the given offset, scale and angle."""
    attention = _randomise(RotatedVariedSizeWindowAttention(_config(attn_implementation="sdpa")))
    with torch.no_grad():
        for name in SAMPLING:
            getattr(attention, name).weight.zero_()
            getattr(attention, name).bias.zero_()
        for name, values in biases.items():
            getattr(attention, f"sampling_{name}").bias.copy_(torch.tensor(values))
    return attention


def _points(attention, grid):
    """Sampling places of an image without content, (rows, columns, M, s, s)."""
    rows, columns = (-(-side // 7) for side in grid)
    x, y = attention.sampling_points(torch.zeros(1, rows, 7, columns, 7, 32), grid)
    return x[0], y[0]


# Windows


@pytest.mark.parametrize(("grid", "first"), [((14, 14), (0, 0)), ((8, 13), (-3, 0))])
def test_window_without_transform_reads_its_own_tokens(grid, first):
    x, y = _points(_window_attention(), grid)
    for row in range(2):
        for column in range(2):
            own_x = first[1] + 7 * column + torch.arange(7.0).expand(2, 7, 7)
            own_y = first[0] + 7 * row + torch.arange(7.0)[:, None].expand(2, 7, 7)
            torch.testing.assert_close(x[row, column].expand(2, 7, 7), own_x, atol=1e-5, rtol=0)
            torch.testing.assert_close(y[row, column].expand(2, 7, 7), own_y, atol=1e-5, rtol=0)


def test_offsets_are_divided_by_the_windows_of_the_other_axis():
    plain = _points(_window_attention(), (14, 21))
    # Head 0 moves by 0.6 in x, head 1 by 0.6 in y, in units of half the grid.
    moved = _points(_window_attention(offsets=[0.6, 0.0, 0.0, 0.6]), (14, 21))
    right, down = moved[0] - plain[0], moved[1] - plain[1]
    torch.testing.assert_close(right[:, :, 0], torch.full((2, 3, 7, 7), 0.6 / 2 * 20 / 2))
    torch.testing.assert_close(down[:, :, 1], torch.full((2, 3, 7, 7), 0.6 / 3 * 13 / 2))
    assert right[:, :, 1].abs().max() < 1e-5 and down[:, :, 0].abs().max() < 1e-5


def test_offsets_of_a_padded_grid_are_divided_by_its_whole_windows():
    plain = _points(_window_attention(), (13, 13))
    moved = _points(_window_attention(offsets=[0.6, 0.6, 0.0, 0.0]), (13, 13))
    # Two windows after padding, but only one whole window before.
    torch.testing.assert_close(
        (moved[0] - plain[0])[:, :, 0], torch.full((2, 2, 7, 7), 0.6 * 13 / 2)
    )


def test_scale_spreads_a_window_around_its_centre():
    x, y = _points(_window_attention(scales=[1.0, -0.5, 0.0, 0.0]), (7, 7))
    torch.testing.assert_close(x[0, 0, 0, 0], torch.arange(7.0) * 2 - 3)
    torch.testing.assert_close(y[0, 0, 0, :, 0], torch.arange(7.0) / 2 + 1.5)


def test_quarter_turn_exchanges_rows_and_columns():
    x, y = _points(_window_attention(angles=[math.pi / 2, 0.0]), (14, 14))
    straight_x, straight_y = _points(_window_attention(), (14, 14))
    # Clockwise on the screen: the row below goes to the left, the column on the right goes down.
    torch.testing.assert_close(x[0, 0, 0], 6 - straight_y[0, 0, 0].expand(7, 7), atol=1e-4, rtol=0)
    torch.testing.assert_close(y[0, 0, 0], straight_x[0, 0, 0].expand(7, 7), atol=1e-4, rtol=0)


def test_turn_shears_a_grid_that_is_not_square():
    x, y = _points(_window_attention(angles=[math.pi / 2, 0.0]), (14, 7))
    # A step down is 2 / 13 of the height; turned, the same part of the width: 6 / 13 tokens.
    torch.testing.assert_close(x[0, 0, 0, 1, 0] - x[0, 0, 0, 0, 0], torch.tensor(-6 / 13))


def _plain_window_attention(attention, x, grid):
    """Window by window and head by head, without transform; the grid is a multiple of 7."""
    heads, size = attention.num_heads, attention.head_size
    qkv = attention.qkv(x).view(*grid, 3, heads, size)
    mixed = torch.zeros(*grid, heads, size)
    for top in range(0, grid[0], 7):
        for left in range(0, grid[1], 7):
            window = qkv[top : top + 7, left : left + 7].reshape(49, 3, heads, size)
            for head in range(heads):
                query, key, value = window[:, :, head].unbind(1)
                logits = query @ key.T / size**0.5
                for i in range(49):
                    for j in range(49):
                        h, w = i // 7 - j // 7 + 6, i % 7 - j % 7 + 6
                        positions = attention.rel_pos_h[h] + attention.rel_pos_w[w]
                        logits[i, j] += query[i] @ positions  # not scaled
                        logits[i, j] += attention.relative_position_bias_table[13 * h + w, head]
                values = logits.softmax(-1) @ value
                mixed[top : top + 7, left : left + 7, head] = values.view(7, 7, size)
    return attention.proj(mixed.reshape(1, -1, heads * size))


@torch.no_grad()
def test_windows_in_place_are_plain_window_attention():
    attention, x = _window_attention(), torch.randn(1, 7 * 14, 32)
    expected = _plain_window_attention(attention, x, (7, 14))
    torch.testing.assert_close(attention(x, (7, 14))[0], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_padded_keys_take_part_with_zero_and_without_mask():
    attention = _window_attention()
    for table in (attention.rel_pos_h, attention.rel_pos_w, attention.relative_position_bias_table):
        table.zero_()
    attention.qkv.weight.zero_()
    attention.qkv.bias.fill_(1.0)
    attention.proj.weight.copy_(torch.eye(32))
    attention.proj.bias.zero_()
    # One column of windows is real, one row of the second window, six rows of padding.
    mixed, _ = attention(torch.zeros(1, 8 * 7, 32), (8, 7))
    real = torch.tensor([28.0, 28.0])  # 4 of 7 rows in each window: padding is split 3 and 3
    weight = math.exp(16 / 4)  # logit of a real key: sixteen ones over sqrt(16)
    expected = real * weight / (real * weight + (49 - real))
    torch.testing.assert_close(mixed[0, [0, -1], 0], expected)


# Full attention


@torch.no_grad()
def test_full_attention_equals_a_loop_with_scaled_relative_positions():
    attention = _randomise(FullAttention(_config(image_size=112, attn_implementation="sdpa")))
    x = torch.randn(1, 49, 32)
    query, key, value = attention.qkv(x)[0].view(49, 3, 2, 16)[:, :, 0].unbind(1)
    logits = query @ key.T / 4
    for i in range(49):
        for j in range(49):
            h, w = i // 7 - j // 7 + 6, i % 7 - j % 7 + 6
            logits[i, j] += query[i] / 4 @ (attention.rel_pos_h[h] + attention.rel_pos_w[w])
    _, weights = FullAttention.forward(_as_eager(attention), x, (7, 7))
    torch.testing.assert_close(weights[0, 0], logits.softmax(-1), atol=1e-5, rtol=1e-4)
    mixed = weights @ attention.qkv(x).view(1, 49, 3, 2, 16)[:, :, 2].transpose(1, 2)
    expected = attention.proj(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, (7, 7))[0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mixed[0, 0], logits.softmax(-1) @ value, atol=1e-5, rtol=1e-4)


def _as_eager(attention):
    other = FullAttention(_config(image_size=112, attn_implementation="eager"))
    other.load_state_dict(attention.state_dict())
    return other


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_strips_of_the_bias_change_nothing(implementation, monkeypatch):
    backbone = _backbone(attn_implementation=implementation)
    backbone.set_attn_implementation(implementation)
    image = torch.randn(2, 3, 112, 144)
    with torch.no_grad():
        whole = backbone(image).feature_maps
        monkeypatch.setitem(modeling_vit_rvsa.MAX_BIAS_ELEMENTS, "cpu", 2 * 2 * 9 * 63 * 2)
        strips = backbone(image).feature_maps
    for one, other in zip(whole, strips, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


# The backbone


@torch.no_grad()
def test_eager_and_sdpa_are_equal():
    backbone, image = _backbone(), torch.randn(2, 3, 130, 160)
    backbone.set_attn_implementation("sdpa")
    expected = backbone(image).feature_maps
    backbone.set_attn_implementation("eager")
    output = backbone(image, output_attentions=True)
    for one, other in zip(output.feature_maps, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    # 9 x 10 tokens make 2 x 2 windows in each of two images.
    assert [tuple(a.shape) for a in output.attentions] == [(8, 2, 49, 49), (2, 2, 90, 90)] * 2


@pytest.mark.parametrize("size", [(128, 128), (112, 112), (100, 130), (97, 200), (160, 113)])
def test_any_size_gives_maps_of_started_strides(size):
    maps = _backbone()(torch.randn(1, 3, *size)).feature_maps
    for m, stride in zip(maps[:3], (4, 8, 16), strict=True):
        assert tuple(m.shape) == (1, 32, *(math.ceil(side / stride) for side in size))
    # Pooling drops the odd last token.
    assert tuple(maps[3].shape[2:]) == tuple(math.ceil(side / 16) // 2 for side in size)


@torch.no_grad()
def test_odd_size_is_the_padded_image_cropped():
    backbone, image = _backbone(), torch.randn(1, 3, 115, 125)
    padded = torch.zeros(1, 3, 128, 128)
    padded[..., :115, :125] = image
    pairs = zip(backbone(image).feature_maps, backbone(padded).feature_maps, strict=True)
    for m, whole in pairs:
        assert torch.equal(m, whole[..., : m.shape[2], : m.shape[3]])


@pytest.mark.parametrize("size", [(96, 128), (128, 90)])
def test_grid_below_a_window_is_refused_by_name(size):
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]}"):
        _backbone()(torch.randn(1, 3, *size))


@torch.no_grad()
def test_image_does_not_see_its_batch():
    backbone, images = _backbone(), torch.randn(2, 3, 128, 144)
    both = backbone(images).feature_maps
    alone = [backbone(image[None]).feature_maps for image in images]
    for level, m in enumerate(both):
        expected = torch.cat([maps[level] for maps in alone])
        torch.testing.assert_close(m, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_multi_depth_returns_the_blocks_as_they_are():
    backbone = _backbone(feature_variant="multi_depth", out_indices=[1, 3, -1])
    output = backbone(torch.randn(1, 3, 112, 128), output_hidden_states=True)
    assert backbone.channels == [32] * 3 and len(output.hidden_states) == 5
    for m, stage in zip(output.feature_maps, (1, 3, 4), strict=True):
        assert torch.equal(m.flatten(2).transpose(1, 2), output.hidden_states[stage])


@torch.no_grad()
def test_last_layer_pyramid_normalises_the_last_block_for_all_maps():
    backbone = _backbone(feature_variant="last_layer_pyramid")
    output = backbone(torch.randn(1, 3, 128, 128), output_hidden_states=True)
    tokens = backbone.norm(output.hidden_states[-1]).transpose(1, 2).unflatten(2, (8, 8))
    torch.testing.assert_close(output.feature_maps[2], tokens)
    for m, expected in zip(output.feature_maps, backbone.pyramid([tokens] * 4), strict=True):
        torch.testing.assert_close(m, expected)


@pytest.mark.parametrize(
    ("variant", "has_norm", "has_pyramid"),
    [
        ("multi_depth_pyramid", False, True),
        ("multi_depth", False, False),
        ("last_layer_pyramid", True, True),
    ],
)
def test_parameters_exist_only_where_they_are_used(variant, has_norm, has_pyramid):
    names = {
        n.split(".")[0]
        for n, _ in ViTRVSABackbone(_config(feature_variant=variant)).named_parameters()
    }
    assert ("norm" in names, "pyramid" in names) == (has_norm, has_pyramid)


@pytest.mark.parametrize("variant", ["multi_depth_pyramid", "multi_depth", "last_layer_pyramid"])
def test_gradients_reach_every_parameter(variant):
    backbone = _randomise(ViTRVSABackbone(_config(feature_variant=variant)), 0.1)
    maps = backbone(torch.randn(1, 3, 100, 130)).feature_maps
    sum(m.square().sum() for m in maps).backward()
    without = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_activation_checkpointing_keeps_the_gradients():
    backbone = _randomise(ViTRVSABackbone(_config(drop_path_rate=0.3)), 0.1).train()
    image = torch.randn(2, 3, 112, 130)

    def gradients():
        torch.manual_seed(1)
        backbone.zero_grad()
        sum(m.sum() for m in backbone(image).feature_maps).backward()
        return {name: p.grad.clone() for name, p in backbone.named_parameters()}

    expected = gradients()
    backbone.activation_checkpointing_enable()
    assert backbone.is_activation_checkpointing
    for name, gradient in gradients().items():
        assert torch.equal(gradient, expected[name]), name


def test_stochastic_depth_grows_linearly_and_rests_in_evaluation():
    backbone = ViTRVSABackbone(_config(drop_path_rate=0.3))
    assert [round(layer.drop_path.p, 6) for layer in backbone.layers] == [0.0, 0.1, 0.2, 0.3]
    image = torch.randn(1, 3, 112, 112)
    backbone.eval()
    assert torch.equal(backbone(image).feature_maps[3], backbone(image).feature_maps[3])


@torch.no_grad()
def test_half_precision_weights_stay_near_float32():
    backbone, image = _backbone(), torch.randn(1, 3, 160, 160)
    expected = backbone(image).feature_maps[2]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = backbone(image).feature_maps[2].float()
    half = backbone.to(torch.bfloat16)(image).feature_maps[2]
    assert half.dtype == torch.bfloat16
    for m in (mixed, half.float()):
        assert (m - expected).abs().mean() < 0.02 * expected.abs().mean()


def test_sampling_places_of_half_precision_weights_are_float32():
    attention = _window_attention().to(torch.bfloat16)
    x, _ = attention.sampling_points(
        torch.zeros(1, 10, 7, 10, 7, 32, dtype=torch.bfloat16), (70, 70)
    )
    assert x.dtype == torch.float32
    torch.testing.assert_close(x[0, 0, 9, 0, 0], torch.arange(63.0, 70), atol=1e-4, rtol=0)


# Names


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_layer_ids_count_embeddings_blocks_and_the_rest(prefix):
    backbone = ViTRVSABackbone(_config(feature_variant="last_layer_pyramid"))
    ids = {name: backbone.layer_id(prefix + name) for name, _ in backbone.named_parameters()}
    assert backbone.num_layers == 4
    assert ids["embeddings.position_embeddings"] == ids["embeddings.patch_embeddings.bias"] == 0
    assert ids["layers.0.norm1.weight"] == 1 and ids["layers.3.mlp.fc2.bias"] == 4
    assert ids["norm.weight"] == ids["pyramid.half_stride.weight"] == 5
    assert backbone.layer_id("semantic.layers.0.weight") == 5


def test_full_attention_comes_every_interval():
    backbone = ViTRVSABackbone(ViTRVSAConfig(**VIT_RVSA_SIZES["tiny"]))
    is_full = [isinstance(layer.attention, FullAttention) for layer in backbone.layers]
    assert is_full == [False, False, True, False, False, True]


def test_detection_copies_have_no_relative_positions_in_full_attention():
    backbone = ViTRVSABackbone(_config(use_full_attention_rel_pos=False))
    names = [n for n, _ in backbone.layers[1].attention.named_parameters()]
    assert names == ["qkv.weight", "qkv.bias", "proj.weight", "proj.bias"]
    backbone(torch.randn(1, 3, 112, 130))


def test_tuple_on_request():
    image = torch.randn(1, 3, 112, 112)
    assert isinstance(_backbone()(image, return_dict=False)[0], tuple)


# Initialisation


def test_initial_values_follow_the_original():
    config = _config(hidden_size=128, feature_variant="last_layer_pyramid")
    backbone = ViTRVSABackbone(config)
    for index, layer in enumerate(backbone.layers):
        deep = 0.02 / math.sqrt(2 * (index + 1))
        assert layer.attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.attention.proj.weight.std().item() == pytest.approx(deep, rel=0.05)
        assert layer.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.mlp.fc2.weight.std().item() == pytest.approx(deep, rel=0.05)
        assert not layer.attention.rel_pos_h.any() and not layer.attention.rel_pos_w.any()
        assert not layer.attention.qkv.bias.any()
    assert backbone.embeddings.position_embeddings.std().item() == pytest.approx(0.02, rel=0.05)
    window = backbone.layers[0].attention
    assert window.relative_position_bias_table.std().item() == pytest.approx(0.02, rel=0.1)
    # PyTorch draws convolutions uniformly within 1 / sqrt(fan in), biases as well.
    for layer, fan_in in (
        (backbone.embeddings.patch_embeddings, 3 * 256),
        (window.sampling_offsets, 128),
        (backbone.pyramid.half_stride, 4 * 128),
    ):
        bound = fan_in**-0.5
        assert 0.95 * bound < layer.weight.abs().max().item() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert 0 < layer.bias.abs().max().item() <= bound


def test_windows_start_in_place_on_request():
    attention = ViTRVSABackbone(_config(zero_init_sampling=True)).layers[0].attention
    for name in SAMPLING:
        assert not any(p.any() for p in getattr(attention, name).parameters())


def test_missing_weights_are_drawn_like_new_ones(tmp_path):
    backbone = ViTRVSABackbone(_config())
    backbone.save_pretrained(tmp_path)
    kept = {"layers.0.attention.proj.weight", "layers.0.norm1.weight"}
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {k: v + 1 for k, v in weights.items() if k in kept},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    again, report = ViTRVSABackbone.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == set(weights) - kept
    for name, parameter in again.named_parameters():
        if name in kept:
            assert torch.equal(parameter, weights[name] + 1)
        else:
            assert torch.isfinite(parameter).all() and parameter.abs().max() <= 1, name
            if parameter.numel() >= 64:
                expected = weights[name].std().item()
                assert parameter.std().item() == pytest.approx(expected, rel=0.3), name


# Saving and loading


@torch.no_grad()
def test_saved_backbone_loads_through_every_class(tmp_path):
    backbone, image = _backbone(), torch.randn(1, 3, 112, 144)
    backbone.save_pretrained(tmp_path)
    expected = backbone(image, output_hidden_states=True)
    again = ViTRVSABackbone.from_pretrained(tmp_path)
    for one, other in zip(again(image).feature_maps, expected.feature_maps, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)  # memory is aligned otherwise
    model, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(model) is ViTRVSAModel and not any(
        report[k] for k in ("missing_keys", "unexpected_keys")
    )
    output = model(image, output_hidden_states=True)
    torch.testing.assert_close(
        output.last_hidden_state, expected.hidden_states[-1], atol=1e-5, rtol=1e-5
    )
    assert len(output.hidden_states) == 5
    assert type(AutoBackbone.from_config(backbone.config)) is ViTRVSABackbone


def test_backbone_from_a_model_lacks_only_the_pyramid(tmp_path):
    model = _randomise(ViTRVSAModel(_config()))
    model.save_pretrained(tmp_path)
    backbone, report = ViTRVSABackbone.from_pretrained(tmp_path, output_loading_info=True)
    assert {name.split(".")[0] for name in report["missing_keys"]} == {"pyramid"}
    assert not report["unexpected_keys"]
    for name, parameter in model.named_parameters():
        assert torch.equal(backbone.get_parameter(name), parameter)


def test_code_travels_with_the_weights(tmp_path, monkeypatch):
    for cls, auto in ((ViTRVSAConfig, "AutoConfig"), (ViTRVSABackbone, "AutoBackbone")):
        monkeypatch.setattr(cls, "_auto_class", auto)
    _backbone().save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.glob("*.py")} == {
        "configuration_checks.py",
        "configuration_vit_rvsa.py",
        "modeling_vit_rvsa.py",
        "neck_plain_pyramid.py",
        "ops_position_tables.py",
        "ops_windows.py",
    }
