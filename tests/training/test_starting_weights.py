"""Claims about what a finetuning run starts from."""

import json
import logging

import pytest
import torch

from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_internimage import InternImageBackbone
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from mtp_hf.training.architectures import BACKBONES
from mtp_hf.training.finetune_schema import FinetuneModel
from mtp_hf.training.starting_weights import find_weights, read_folder, start_network
from tests.training.tiny_finetune import BACKBONE

NAMES = ["a", "b", "c"]


def _network(image_size=112, names=NAMES):
    config = ViTRVSAConfig(**BACKBONE, image_size=image_size)
    labels = dict(enumerate(names))
    label2id = {name: i for i, name in labels.items()}
    return UperNetRSForSemanticSegmentation(
        UperNetRSConfig(backbone_config=config, hidden_size=8, id2label=labels, label2id=label2id)
    )


def _start(network, folder, **wishes):
    return start_network(network, FinetuneModel("upernet", init=str(folder), **wishes))


@pytest.fixture
def encoder(tmp_path):
    backbone = ViTRVSABackbone(ViTRVSAConfig(**BACKBONE, image_size=112))
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_()
    backbone.save_pretrained(tmp_path / "encoder")
    return backbone


def test_an_encoder_becomes_the_backbone(encoder, tmp_path):
    network = _network()
    (line,) = _start(network, tmp_path / "encoder")
    own = network.backbone.state_dict()
    assert all(torch.equal(own[name], x) for name, x in encoder.state_dict().items())
    assert "new: none; not used: none" in line


def test_position_tables_follow_the_size_of_the_run(encoder, tmp_path):
    network = _network(image_size=160)
    _start(network, tmp_path / "encoder")
    table = network.backbone.embeddings.position_embeddings
    assert table.shape[1] == 100
    # bicubic tables keep the corners' order of size
    assert torch.isfinite(table).all() and table.std() > 0.5
    same = encoder.state_dict()["layers.0.mlp.fc1.weight"]
    assert torch.equal(network.backbone.state_dict()["layers.0.mlp.fc1.weight"], same)


def test_a_model_of_the_same_kind_and_classes_gives_its_head(tmp_path):
    trained = _network()
    trained.save_pretrained(tmp_path / "model")
    network = _network()
    (line,) = _start(network, tmp_path / "model")
    own = network.state_dict()
    assert all(torch.equal(own[name], x) for name, x in trained.state_dict().items())
    assert "start from all of" in line


def test_its_backbone_alone_where_asked(tmp_path):
    trained = _network(names=["x", "y"])
    trained.save_pretrained(tmp_path / "model")
    network = _network()
    before = network.classifier.classifier.weight.clone()
    (line,) = _start(network, tmp_path / "model", take_head=False)
    assert torch.equal(network.classifier.classifier.weight, before)
    assert "start from the backbone of" in line
    name = "layers.0.mlp.fc1.weight"
    assert torch.equal(network.backbone.state_dict()[name], trained.backbone.state_dict()[name])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], r"has 2 classes \(a, b \.\.\.\), the data set 3"),
        (["a", "b", "d"], "class 2 of the model in .* is 'd', of the data set 'c'"),
    ],
)
def test_other_classes_are_refused_with_the_way_out(tmp_path, names, message):
    _network(names=names).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=message + ".*take_head=false"):
        _start(_network(), tmp_path / "model")


def test_another_kind_of_backbone_is_refused(tmp_path):
    config_class, fields = BACKBONES["internimage_tiny"]
    InternImageBackbone(config_class(**fields)).save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match="of the kind mtp_internimage, the recipe .* mtp_vit_rvsa"):
        _start(_network(), tmp_path / "encoder")


def test_another_size_of_network_is_refused_naming_the_tensor(tmp_path):
    wide = BACKBONE | {"hidden_size": 32}
    ViTRVSABackbone(ViTRVSAConfig(**wide, image_size=112)).save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match=r"another size \(model\.backbone\)"):
        _start(_network(), tmp_path / "encoder")


def test_a_file_of_the_original_starts_the_backbone(tmp_path):
    width = BACKBONE["hidden_size"]
    weights = {"patch_embed.proj.bias": torch.full((width,), 3.0)}
    weights["patch_embed.proj.weight"] = torch.zeros(width, 3, 16, 16)
    weights["pos_embed"] = torch.zeros(1, 50, width)
    torch.save({"model": weights}, tmp_path / "mae.pth")
    network = _network()
    _start(network, tmp_path / "mae.pth")
    assert (network.backbone.embeddings.patch_embeddings.bias == 3).all()


@pytest.mark.parametrize("break_it", ["empty", "no weights", "cut short"])
def test_a_folder_that_is_not_whole_is_refused(tmp_path, encoder, break_it):
    folder = tmp_path / "encoder"
    if break_it == "empty":
        (folder / "config.json").unlink()
    elif break_it == "no weights":
        (folder / "model.safetensors").unlink()
    else:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"encoder.*(no config.json|no model.saf|not whole)"):
        read_folder(folder)


def test_shards_are_read_together(tmp_path, encoder):
    encoder.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert read_folder(tmp_path / "shards")[1].keys() == encoder.state_dict().keys()


def test_what_is_nowhere_is_refused_naming_the_field(caplog):
    with caplog.at_level(logging.CRITICAL), pytest.raises(ValueError) as caught:
        find_weights("no/such-model", "model.init")
    assert str(caught.value).startswith("model.init=no/such-model: no such file or folder")


def test_the_decoder_is_asked_of_a_multi_task_model(tmp_path):
    folder = tmp_path / "model"
    _network().save_pretrained(folder)
    wishes = FinetuneModel("upernet", init_decoder=str(folder))
    with pytest.raises(ValueError, match="init_decoder.* of the kind mtp_upernet, not the multi"):
        start_network(_network(), wishes)
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "mtp_pretraining"}))
    with pytest.raises(ValueError, match="init_decoder.* holds no model"):
        start_network(_network(), wishes)
