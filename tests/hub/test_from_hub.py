"""Claims about networks loaded by name: push, `from_pretrained`, the same outputs as before."""

import re

import pytest
import torch
from huggingface_hub import HfApi
from PIL import Image
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForPreTraining,
    pipeline,
)

from mtp_hf import (
    MTPForPreTraining,
    MTPImageProcessor,
    MTPPreTrainingConfig,
    ViTRVSABackbone,
    ViTRVSAConfig,
    ViTRVSAModel,
)
from mtp_hf.hub.push import push_run, repo_names
from tests.hub.loopback_client import client_of
from tests.hub.loopback_hub import LoopbackHub
from tests.without_package import run_without_package

ENCODER, MODEL = "mtp/vit-l-rvsa", "mtp/vit-l-rvsa-pretraining"
# Weights come back bit for bit; outputs may differ by rounding, because the kernels that torch
# chooses depend on where in memory the weights lie (seen: 1.2e-7 on values up to 3).
ROUNDING = {"rtol": 0.0, "atol": 1e-6}
# Boxes in pixels, up to 128 of them; an error of rounding in the maps grows on the way to them.
PREDICTED = {"rtol": 0.0, "atol": 1e-3}

# Runs where the package cannot be imported: all code comes from the Hub.
WITHOUT_PACKAGE = """
import torch
from transformers import (
    AutoBackbone, AutoConfig, AutoImageProcessor, AutoModel, AutoModelForPreTraining
)
encoder, model, folder = sys.argv[1:]
trusted = {"trust_remote_code": True}
images = torch.load(f"{folder}/images.pt")
with torch.no_grad():
    AutoModelForPreTraining.from_pretrained(model, **trusted)
    results = {
        "tokens": AutoModel.from_pretrained(encoder, **trusted).eval()(images).last_hidden_state,
        "maps": AutoBackbone.from_pretrained(encoder, **trusted).eval()(images).feature_maps,
        "image_size": AutoConfig.from_pretrained(encoder, **trusted).image_size,
        "height": AutoImageProcessor.from_pretrained(model, **trusted).size.height,
    }
    # Again, after the encoder's code has registered the same model types.
    network = AutoModelForPreTraining.from_pretrained(model, **trusted).eval()
    results["predictions"] = network.predict(images, "sior")
    modules = (network, network.config, network.backbone, network.backbone.config)
    results["modules"] = [type(each).__module__ for each in modules]
torch.save(results, f"{folder}/results.pt")
"""


@pytest.fixture(scope="module")
def published(bundle, tmp_path_factory):
    """The client with both repositories on the Hub; the value is the environment."""
    with (
        LoopbackHub().running() as hub,
        client_of(hub, tmp_path_factory.mktemp("hf_home")) as environment,
    ):
        names = repo_names("vit-l-rvsa")
        push_run(HfApi(), bundle, names, private=True, message="a push")
        yield environment


@pytest.fixture(scope="module")
def without_package(published, images, tmp_path_factory):
    """What a process without the package computed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    torch.save(images, folder / "images.pt")
    run_without_package(
        WITHOUT_PACKAGE, ENCODER, MODEL, str(folder), folder=folder, environment=published
    )
    return torch.load(folder / "results.pt")


@pytest.fixture(scope="module")
def maps(network, images):
    with torch.no_grad():
        return network.backbone(images).feature_maps


@pytest.fixture(scope="module")
def tokens(network, images):
    twin = ViTRVSAModel(network.backbone.config).eval()
    twin.load_state_dict(network.backbone.state_dict(), strict=False)
    with torch.no_grad():
        return twin(images).last_hidden_state


def _assert_close(found, expected, tolerance=ROUNDING):
    torch.testing.assert_close(found, expected, **tolerance)


def _assert_equal_weights(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_configs_load_by_name(published, network):
    encoder, model = AutoConfig.from_pretrained(ENCODER), AutoConfig.from_pretrained(MODEL)
    assert (type(encoder), type(model)) == (ViTRVSAConfig, MTPPreTrainingConfig)
    assert encoder.hidden_size == network.backbone.config.hidden_size
    assert model.class_names == network.config.class_names
    assert type(model.backbone_config) is ViTRVSAConfig


@torch.no_grad()
def test_the_encoder_loads_by_name_with_equal_tokens(published, tokens, images):
    encoder = AutoModel.from_pretrained(ENCODER)
    assert type(encoder) is ViTRVSAModel
    _assert_close(encoder.eval()(images).last_hidden_state, tokens)


@pytest.mark.parametrize("auto_class", [AutoBackbone, ViTRVSABackbone])
@torch.no_grad()
def test_the_encoder_loads_by_name_as_backbone_with_equal_maps(
    published, auto_class, network, maps, images
):
    backbone = auto_class.from_pretrained(ENCODER)
    assert type(backbone) is ViTRVSABackbone
    _assert_equal_weights(backbone.state_dict(), network.backbone.state_dict())
    _assert_close(backbone.eval()(images).feature_maps, maps)


@pytest.mark.parametrize("auto_class", [AutoModelForPreTraining, MTPForPreTraining])
def test_the_pretraining_model_loads_by_name_with_equal_predictions(
    published, auto_class, network, images
):
    model = auto_class.from_pretrained(MODEL).eval()
    assert type(model) is MTPForPreTraining
    _assert_equal_weights(model.state_dict(), network.state_dict())
    _assert_close(model.predict(images, "sior"), network.predict(images, "sior"), PREDICTED)


@pytest.mark.parametrize("repo", [ENCODER, MODEL])
def test_the_processor_loads_by_name(published, repo):
    processor = AutoImageProcessor.from_pretrained(repo)
    assert type(processor) is MTPImageProcessor
    assert (processor.size.height, processor.size.width) == (112, 112)


def test_a_pipeline_finds_its_task_in_the_card_and_runs(published):
    extract = pipeline(model=ENCODER, trust_remote_code=True)  # else it asks: a video processor?
    assert type(extract.model) is ViTRVSAModel  # the package's own class all the same
    assert extract.task == "image-feature-extraction"
    (tokens,) = extract(Image.new("RGB", (112, 112)))
    assert len(tokens) == 64  # 112 padded to 128


def test_a_private_repository_stays_closed_without_the_token(published, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match="not a valid model identifier|is not a local folder"):
        AutoModel.from_pretrained(ENCODER, cache_dir=tmp_path)


def test_without_the_package_the_backbone_gives_equal_maps_and_tokens(
    without_package, maps, tokens
):
    _assert_close(without_package["maps"], maps)
    _assert_close(without_package["tokens"], tokens)
    assert without_package["image_size"] == without_package["height"] == 112


def test_without_the_package_the_pretraining_model_gives_equal_predictions(
    without_package, network, images
):
    _assert_close(without_package["predictions"], network.predict(images, "sior"), PREDICTED)


def test_without_the_package_no_code_of_another_repository_gets_into_the_model(without_package):
    packages = {module.rsplit(".", 1)[0] for module in without_package["modules"]}
    assert len(packages) == 1
    assert "pretraining" in packages.pop()


@pytest.mark.parametrize("kind", ["encoder", "model"])
def test_the_examples_of_the_card_run_from_the_hub(published, kind):
    card = HfApi().hf_hub_download({"encoder": ENCODER, "model": MODEL}[kind], "README.md")
    with open(card, encoding="utf-8") as file:
        examples = re.findall(r"```python\n(.*?)```", file.read(), flags=re.DOTALL)
    results = [{}, {}]
    for example, names in zip(examples, results, strict=True):
        exec(example, names)
    if kind == "encoder":
        sides = [tuple(each.shape[-2:]) for each in results[0]["maps"]]
        assert sides == [(32, 32), (16, 16), (8, 8), (4, 4)]  # 112 padded to 128
        assert results[1]["tokens"].shape[:2] == (1, 64)
    else:
        for names in results:
            assert names["predictions"][0]["ss"]["semantic_map"].shape == (256, 256)
