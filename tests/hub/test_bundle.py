"""Claims about the saved folders: they load by every road, with equal outputs."""

import json
import re

import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, AutoModelForPreTraining

from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig
from mtp_hf.modeling.image_processing_mtp import MTPImageProcessor
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone, ViTRVSAModel
from tests.without_package import run_without_package

# Weights come back bit for bit; outputs may differ by rounding, because the kernels that torch
# chooses depend on where in memory the weights lie (seen: 1.2e-7 on values up to 3).
ROUNDING = {"rtol": 0.0, "atol": 1e-6}

# Runs where the package cannot be imported: only the files beside the weights are there.
REMOTE = """
import torch
from transformers import AutoImageProcessor, AutoModel, AutoModelForPreTraining
folder, work = sys.argv[1:]
images = torch.load(f"{work}/images.pt")
trusted = {"trust_remote_code": True}
processor = AutoImageProcessor.from_pretrained(f"{folder}/model", **trusted)
model = AutoModelForPreTraining.from_pretrained(f"{folder}/model", **trusted).eval()
encoder = AutoModel.from_pretrained(f"{folder}/encoder", **trusted).eval()
maps = model.backbone(images).feature_maps
tokens = encoder(images).last_hidden_state
found = model.predict(images, "sior")
torch.save((processor.size.height, maps, tokens, found), f"{work}/remote.pt")
"""


@torch.no_grad()
def test_the_encoder_loads_as_backbone_with_equal_maps(bundle, network, images):
    backbone = ViTRVSABackbone.from_pretrained(bundle / "encoder").eval()
    for name, value in network.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name
    expected = network.backbone(images).feature_maps
    for found, each in zip(backbone(images).feature_maps, expected, strict=True):
        torch.testing.assert_close(found, each, **ROUNDING)


@torch.no_grad()
def test_the_encoder_loads_through_the_auto_class(bundle, network, images):
    encoder = AutoModel.from_pretrained(bundle / "encoder").eval()
    assert isinstance(encoder, ViTRVSAModel)
    twin = ViTRVSAModel(network.backbone.config).eval()
    twin.load_state_dict(network.backbone.state_dict(), strict=False)
    expected = twin(images).last_hidden_state
    torch.testing.assert_close(encoder(images).last_hidden_state, expected, **ROUNDING)


def test_the_model_loads_with_equal_weights_and_predictions(bundle, network, images):
    model = MTPForPreTraining.from_pretrained(bundle / "model").eval()
    for name, value in network.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    # The same memory, so that not even rounding differs.
    model.load_state_dict(network.state_dict(), assign=True)
    found, expected = model.predict(images, "sior"), network.predict(images, "sior")
    for tasks, other in zip(found, expected, strict=True):
        for task, prediction in other.items():
            for name, value in prediction.items():
                assert torch.equal(tasks[task][name], value), (task, name)


def test_the_model_loads_through_the_auto_class(bundle):
    assert isinstance(AutoModelForPreTraining.from_pretrained(bundle / "model"), MTPForPreTraining)


@pytest.mark.parametrize("folder", ["encoder", "model"])
def test_the_processor_is_found_and_fits_the_training_size(bundle, folder):
    processor = AutoImageProcessor.from_pretrained(bundle / folder)
    assert isinstance(processor, MTPImageProcessor)
    assert (processor.size.height, processor.size.width) == (112, 112)


@torch.no_grad()
def test_the_code_beside_the_weights_loads_without_the_package(
    bundle, network, images, tmp_path, monkeypatch
):
    torch.save(images, tmp_path / "images.pt")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_without_package(REMOTE, str(bundle), str(tmp_path), folder=tmp_path)
    side, maps, tokens, found = torch.load(tmp_path / "remote.pt")
    assert side == 112
    expected = network.backbone(images).feature_maps
    for each, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(each, other, **ROUNDING)
    encoder = AutoModel.from_pretrained(bundle / "encoder").eval()
    torch.testing.assert_close(tokens, encoder(images).last_hidden_state, **ROUNDING)
    assert [set(tasks) for tasks in found] == [{"ss", "is", "rd"}] * 2


def test_configs_point_at_the_code_beside_them(bundle):
    for folder, classes in {
        "encoder": {"AutoConfig", "AutoModel", "AutoBackbone"},
        "model": {"AutoConfig", "AutoModelForPreTraining"},
    }.items():
        config = json.loads((bundle / folder / "config.json").read_text())
        assert set(config["auto_map"]) == classes
        for target in config["auto_map"].values():
            module, name = target.split(".")
            text = (bundle / folder / f"{module}.py").read_text()
            assert re.search(rf"\b{name}\b", text)


def test_shipped_code_is_complete_and_needs_no_package(bundle):
    for file in bundle.glob("*/*.py"):
        text = file.read_text()
        assert "mtp_hf" not in text, file
        for sibling in re.findall(r"^from \.(\w+) import", text, flags=re.MULTILINE):
            assert (file.parent / f"{sibling}.py").is_file(), (file, sibling)


def test_saving_leaves_the_classes_and_configs_as_they_were(bundle, network):
    for shipped in (MTPForPreTraining, ViTRVSABackbone, MTPImageProcessor, MTPPreTrainingConfig):
        assert shipped._auto_class is None
    assert "auto_map" not in vars(network.config)
    assert "auto_map" not in vars(network.backbone.config)


def test_no_folder_of_this_machine_is_in_the_bundle(bundle):
    for file in [*bundle.glob("*/*.json"), *bundle.glob("*/*.md")]:
        assert str(bundle) not in file.read_text(), file


@pytest.mark.parametrize("folder", ["encoder", "model"])
def test_the_examples_of_the_card_run(bundle, folder, monkeypatch):
    monkeypatch.chdir(bundle)
    card = (bundle / folder / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert len(examples) == 2
    results = {}
    for example in examples:
        exec(example, results)
    if folder == "encoder":
        sides = [tuple(each.shape[-2:]) for each in results["maps"]]
        assert sides == [(32, 32), (16, 16), (8, 8), (4, 4)]  # 112 padded to 128
        assert results["tokens"].shape[:2] == (1, 64)
    else:
        (tasks,) = results["predictions"]
        assert tasks["ss"]["semantic_map"].shape == (256, 256)


def test_the_pictures_lie_beside_the_cards(bundle):
    for folder in ("encoder", "model"):
        assert (bundle / folder / "losses.png").read_bytes() == b"a picture"


def test_a_pipeline_is_told_that_there_is_no_processor_of_videos(bundle):
    for kind in ("encoder", "model"):
        text = (bundle / kind / "preprocessor_config.json").read_text()
        assert json.loads(text)["video_processor_type"] == "none"  # else it asks for trust
