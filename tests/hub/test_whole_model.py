"""Claims about reading folders whole or not at all."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from mtp_hf.hub.whole_model import class_named, load_whole, read_config, read_json, read_weights
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from tests.conversion.tiny_originals import tiny_model

KEY = "decoder.fusion.conv.weight"


@pytest.fixture
def folder(tmp_path):
    tiny_model("upernet").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _change(folder, **weights):
    """Replace weights of a folder; None takes them out."""
    file = folder / "model.safetensors"
    changed = {k: v for k, v in (load_file(file) | weights).items() if v is not None}
    save_file(changed, file, metadata={"format": "pt"})


def _load(folder):
    return load_whole(UperNetRSForSemanticSegmentation, folder)


def test_a_whole_folder_gives_the_model_that_was_saved(folder):
    expected = tiny_model("upernet").state_dict()
    assert all(
        torch.equal(value, expected[key]) for key, value in _load(folder).state_dict().items()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({KEY: None}, f"model: missing keys: {KEY}"),
        ({"odd": torch.ones(1)}, "model: unexpected keys: odd"),
        ({KEY: torch.ones(2, 2)}, f"model: mismatched keys: .*{KEY}.*2, 2.*16, 64, 3, 3"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(folder, change, message):
    _change(folder, **change)
    with pytest.raises(ValueError, match=message):
        _load(folder)


def test_weights_that_are_cut_short_are_refused(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(ValueError, match="model cannot be loaded: "):
        _load(folder)


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model cannot be loaded: .*no file named model\.saf"):
        _load(folder)


def test_a_config_with_a_value_of_another_type_is_refused(folder):
    (folder / "config.json").write_text('{"hidden_size": "wide"}')
    with pytest.raises(ValueError, match="model cannot be loaded: .*hidden_size"):
        _load(folder)


@pytest.mark.parametrize(("text", "message"), [("{", "no JSON: "), ("[]", "holds a list")])
def test_a_config_that_cannot_be_read_is_named(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=rf"config\.json: {message}"):
        read_config(folder)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no model: no config\.json"):
        read_config(tmp_path)


def test_an_object_is_read(folder):
    assert read_json(folder / "config.json")["model_type"] == "mtp_upernet"


def test_the_class_is_that_of_the_config(folder):
    assert class_named(read_config(folder)) is UperNetRSForSemanticSegmentation
    assert class_named({"architectures": ["BertModel"]}) is None
    assert class_named({"architectures": None}) is None


def test_weights_are_read_in_the_types_they_are_stored_in(folder):
    _change(folder, **{KEY: torch.ones(16, 64, 3, 3, dtype=torch.float16)})
    weights = read_weights(folder)
    assert weights[KEY].dtype == torch.float16
    assert weights["decoder.fusion.norm.weight"].dtype == torch.float32


def test_shards_are_read_together(folder):
    tiny_model("upernet").save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert read_weights(folder).keys() == tiny_model("upernet").state_dict().keys()


@pytest.mark.parametrize(("size", "message"), [(500, "not whole"), (None, "holds no weights")])
def test_stored_weights_that_are_not_whole_are_refused(folder, size, message):
    file = folder / "model.safetensors"
    content = file.read_bytes()[:size]
    file.unlink()
    if size:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_weights(folder)
