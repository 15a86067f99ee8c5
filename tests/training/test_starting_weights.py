"""Claims about what a finetuning run starts from."""

import json
import logging
import shutil

import pytest
import torch

from mtp_hf.conversion.original import original_state_dict
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_internimage import InternImageBackbone
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from mtp_hf.training.architectures import BACKBONES
from mtp_hf.training.finetune_schema import FinetuneModel
from mtp_hf.training.starting_weights import find_weights, start_network
from tests.conversion.tiny_originals import tiny_model, tiny_original
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


def test_a_file_of_the_original_starts_the_backbone(tmp_path, encoder):
    weights = original_state_dict(encoder.state_dict(), encoder.config, "backbone", "encoder.")
    torch.save({"state_dict": weights}, tmp_path / "encoder.pth")
    network = _network()
    _start(network, tmp_path / "encoder.pth")
    own = network.backbone.state_dict()
    assert all(torch.equal(own[name], x) for name, x in encoder.state_dict().items())


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_file_of_weights_under_our_names_starts_the_backbone(tmp_path, suffix):
    trained = _network()
    trained.save_pretrained(tmp_path)
    if suffix == "pth":
        torch.save({"state_dict": trained.state_dict()}, tmp_path / "model.pth")
    network = _network()
    _start(network, tmp_path / f"model.{suffix}")
    own = network.backbone.state_dict()
    assert all(torch.equal(own[name], x) for name, x in trained.backbone.state_dict().items())


@pytest.mark.parametrize(("depth", "what"), [(3, "missing"), (6, "not used")])
def test_an_encoder_of_another_depth_is_refused(tmp_path, depth, what):
    other = BACKBONE | {"num_hidden_layers": depth, "feature_variant": "multi_depth"}
    config = ViTRVSAConfig(**other, out_indices=[depth], image_size=112)
    ViTRVSABackbone(config).save_pretrained(tmp_path / "encoder")
    message = rf"its layers are not those of .*\(model\.backbone\).* {what}, such as layers\.\d\."
    with pytest.raises(ValueError, match=message):
        _start(_network(), tmp_path / "encoder")


def test_a_config_without_a_backbone_of_its_own_is_refused_by_its_kind(tmp_path, encoder):
    config = {"model_type": "detr", "backbone_config": None}
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="has a backbone of the kind detr"):
        _start(_network(), tmp_path / "encoder")


def test_shards_start_the_backbone_together(tmp_path, encoder):
    shutil.rmtree(tmp_path / "encoder")
    encoder.save_pretrained(tmp_path / "encoder", max_shard_size="10KB")
    assert len(list((tmp_path / "encoder").glob("*.safetensors"))) > 1
    (line,) = _start(_network(), tmp_path / "encoder")
    assert "new: none; not used: none" in line


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
    with pytest.raises(ValueError, match="init_decoder.* cannot be loaded"):
        start_network(_network(), wishes)


def test_a_multi_task_model_whose_decoder_fits_nowhere_is_refused_with_the_way_out(tmp_path):
    torch.save({"state_dict": tiny_original("mtp_pretraining")}, tmp_path / "x.pth")
    network = tiny_model("upernet")
    wide = type(network)(type(network.config)(**network.config.to_dict() | {"hidden_size": 32}))
    message = r"its decoder does not fit.*in pretraining.*set model\.head\.hidden_size"
    with pytest.raises(ValueError, match=message):
        start_network(wide, FinetuneModel("upernet", init_decoder=str(tmp_path / "x.pth")))
