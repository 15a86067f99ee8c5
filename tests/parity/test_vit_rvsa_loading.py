"""What starts from an original checkpoint, against the recorded loading rules of the original.

The recorded encoder was pretrained at 224 pixels; it is loaded at 128, 224 and 400, bare or below a
prefix, into the copies for segmentation, classification and detection.
"""

import pytest
import torch

from mtp_hf.conversion.checkpoint_file import unwrap_checkpoint
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.convert_mtp_checkpoint import (
    VIT_RVSA_TABLE,
    load_original_weights,
    rename_key,
)
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from tests.parity.recordings import Recording

VARIANTS = {
    "seg": {},
    "cls": {"feature_variant": "multi_depth"},
    "hdet": {"use_full_attention_rel_pos": False},
}
CASES = [
    *((copy, "", size) for copy in VARIANTS for size in (128, 224, 400)),
    *((copy, prefix, 128) for copy in VARIANTS for prefix in ("module.", "encoder.")),
]
# Kept by the original where nothing applies them; we have no such parameters.
NEVER_APPLIED = {"cls": ("norm.", "fpn")}


def _backbone(**overrides):
    return ViTRVSABackbone(
        ViTRVSAConfig(
            hidden_size=96,
            num_hidden_layers=6,
            num_attention_heads=4,
            full_attention_interval=3,
            **overrides,
        )
    )


@pytest.fixture(scope="module")
def recording(shared_dir):
    return Recording(shared_dir / "fixtures", "rvsa_loading")


@pytest.fixture(scope="module")
def encoder(shared_dir, recording):
    """The whole encoder: recorded tables of 224 pixels, all else from the one of 112 pixels."""
    state_dict = Recording(shared_dir / "fixtures", "rvsa_pretrain_112").under("state_dict")
    for name, tensor in state_dict.items():
        if "full_attn_rel_pos" in name:
            state_dict[name] = torch.randn(27, tensor.shape[1])
    return state_dict | recording.under("ckpt_encoder")


def _load(backbone, encoder, prefix):
    state_dict = {prefix + name: tensor for name, tensor in encoder.items()}
    checkpoint = {"state_dict": state_dict} if prefix == "module." else state_dict
    return load_original_weights(backbone, unwrap_checkpoint(checkpoint).state_dict, VIT_RVSA_TABLE)


@pytest.mark.parametrize(("copy", "prefix", "size"), CASES)
def test_encoder_loads_what_the_original_loads(recording, encoder, copy, prefix, size):
    case = f"{copy} prefix={prefix!r} size={size}"
    backbone = _backbone(image_size=size, **VARIANTS[copy])
    report = _load(backbone, encoder, prefix)
    assert report["missing"] == recording.meta["not_in_checkpoint"][case] == []
    unused = {key.removeprefix("encoder.") for key in report["unused"]}
    constants = {key for key in encoder if key.endswith("relative_position_index")}
    never = {key for key in encoder if key.startswith(NEVER_APPLIED.get(copy, ("norm.",)))}
    assert unused - constants == set(recording.meta["checkpoint_keys_unused"][case]) | never
    changed = set(recording.meta["not_equal_to_checkpoint"][case])
    for key in encoder.keys() - unused:
        own = backbone.get_parameter(rename_key(key, VIT_RVSA_TABLE)[1])
        is_equal = own.shape == encoder[key].shape and torch.equal(own, encoder[key])
        assert is_equal == (key not in changed), key


@pytest.mark.parametrize("prefix", ["", "module.", "encoder."])
@pytest.mark.parametrize("size", [128, 400])
@pytest.mark.parametrize("copy", VARIANTS)
def test_tables_of_another_size_are_those_of_the_original(recording, encoder, copy, size, prefix):
    backbone = _backbone(image_size=size, **VARIANTS[copy])
    _load(backbone, encoder, prefix)
    # Classification resizes as segmentation does: the recording keeps one of the two.
    recorded = recording.under(f"loaded/{'seg' if copy == 'cls' else copy}/{size}")
    assert len(recorded) == (1 if copy == "hdet" else 3)
    for key, expected in recorded.items():
        own = backbone.get_parameter(rename_key(key, VIT_RVSA_TABLE)[1]).detach()
        torch.testing.assert_close(own, expected, atol=1e-6, rtol=1e-5)


def test_pretraining_goes_on_from_an_encoder_that_the_original_cannot_load(recording, encoder):
    refused = recording.meta["pretrain_loader_on_pretrain_encoder"]
    assert not refused["ok"] and "invalid for input" in refused["message"]
    backbone = _backbone(image_size=224)
    report = load_original_weights(backbone, encoder, VIT_RVSA_TABLE)
    assert report["missing"] == []
    assert torch.equal(backbone.embeddings.position_embeddings, encoder["pos_embed"])


@pytest.mark.parametrize("num_channels", [1, 10])
def test_other_channels_start_with_new_patches_and_keep_all_else(encoder, num_channels):
    backbone = _backbone(image_size=128, num_channels=num_channels)
    patches = backbone.embeddings.patch_embeddings
    before = {name: p.clone() for name, p in patches.named_parameters()}
    report = _load(backbone, encoder, "")
    assert report["missing"] == [f"embeddings.patch_embeddings.{kind}" for kind in sorted(before)]
    assert {"patch_embed.proj.weight", "patch_embed.proj.bias"} <= set(report["unused"])
    for name, parameter in patches.named_parameters():
        assert torch.equal(parameter, before[name])


def test_patches_of_another_side_are_still_refused(encoder):
    with pytest.raises(ValueError, match=r"patch_embeddings\.weight is .*8, 8.*16, 16"):
        _load(_backbone(image_size=128, patch_size=8), encoder, "")
