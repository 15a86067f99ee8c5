"""Claims about backbones of timm and transformers in recipes."""

import pytest
import torch
from transformers import BertConfig, ResNetConfig, SwinConfig

from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.training.architectures import build_backbone_config, build_network
from mtp_hf.training.foreign_backbones import foreign_config, is_foreign
from mtp_hf.training.optim import parameter_groups
from mtp_hf.training.recipe import load_recipe
from tests.training.tiny_finetune import DETECTOR

SIDE = 64
TASKS = {
    "faster_rcnn": ("horizontal_detection", DETECTOR),
    "upernet": ("semantic_segmentation", {"hidden_size": 8}),
    "siamese_unet": ("change_detection", {"hidden_sizes": [16, 12, 8, 8]}),
    "linear": ("scene_classification", {}),
}
NAMES = ["one", "two"]
WINDOWS_OF_96 = ("data.image_size=160", "evaluation.window=96", "evaluation.stride=96")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders with configs of tiny backbones, and of what is none."""
    swin = {"embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 1, 2, 2], "window_size": 2}
    configs = {
        "resnet": ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 12, 16, 24], depths=[1] * 4, layer_type="basic"
        ),
        "swin": SwinConfig(**swin, image_size=SIDE),
        "bert": BertConfig(),
        "own": ViTRVSAConfig(),
    }
    root = tmp_path_factory.mktemp("configs")
    for name, config in configs.items():
        config.save_pretrained(root / name)
    return {name: str(root / name) for name in configs}


def _recipe(tmp_path, architecture, backbone, *overrides):
    task, head = TASKS[architecture]
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"task: {task}\n"
        f"data: {{builder: dior, image_size: {SIDE}}}\n"
        f"model: {{architecture: {architecture}, backbone: {backbone}, head: {head}}}\n"
        "schedule: {steps: 2}\n"
    )
    return load_recipe(str(path), overrides=overrides)


def _inputs(architecture):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, SIDE, SIDE, generator=generator)
    side = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    side[:20] = 1
    box = torch.tensor([[8.0, 8.0, 40.0, 48.0]])
    label = {
        "dataset": "dior",
        "image_id": "a",
        "size": (SIDE, SIDE),
        "boxes": box,
        "class_labels": torch.tensor([1]),
        "semantic_labels": side,
        "change_labels": side,
    }
    inputs = {"pixel_values": images, "labels": [label, label]}
    return inputs | (
        {"pixel_values_post": images.flip(0)} if architecture == "siamese_unet" else {}
    )


@pytest.mark.parametrize("backbone", ["timm/resnet10t", "resnet", "swin"])
@pytest.mark.parametrize("architecture", ["faster_rcnn", "upernet", "siamese_unet"])
def test_every_dense_head_trains_on_it(tmp_path, folders, architecture, backbone):
    torch.manual_seed(0)
    recipe = _recipe(tmp_path, architecture, folders.get(backbone, backbone))
    network = build_network(recipe, NAMES)
    assert len(network.backbone.channels) == 4
    loss = network.train()(**_inputs(architecture)).loss
    loss.backward()
    assert torch.isfinite(loss)
    groups = parameter_groups(network, lr=1.0, weight_decay=0.05)
    assert {group["lr_scale"] for group in groups} == {1.0}
    trained = [p for p in network.backbone.parameters() if p.grad is not None and p.grad.any()]
    assert len(trained) > 20


@pytest.mark.parametrize("backbone", ["timm/resnet10t", "resnet"])
def test_a_saved_network_loads_without_the_recipe(tmp_path, folders, backbone):
    network = build_network(_recipe(tmp_path, "upernet", folders.get(backbone, backbone)), NAMES)
    network.save_pretrained(tmp_path / "model")
    again = type(network).from_pretrained(tmp_path / "model").eval()
    images = _inputs("upernet")["pixel_values"]
    with torch.no_grad():
        expected = network.eval()(images).logits
        # Weights that lie elsewhere in memory may be summed in another order.
        torch.testing.assert_close(again(images).logits, expected, rtol=1e-4, atol=1e-5)


def test_the_last_four_maps_are_read_unless_others_are_chosen(folders):
    assert foreign_config(folders["resnet"], {}).out_indices == [1, 2, 3, 4]
    config = foreign_config("timm/resnet10t", {"out_indices": [0, 1, 2, 3]})
    assert config.out_indices == [0, 1, 2, 3] and config.backbone == "resnet10t"


def test_names_with_a_slash_and_folders_mean_other_libraries(tmp_path, folders):
    assert is_foreign("timm/resnet18") and is_foreign("microsoft/resnet-18")
    assert is_foreign(str(tmp_path)) and not is_foreign("vit_b_rvsa")


@pytest.mark.parametrize(
    ("backbone", "architecture", "override", "message"),
    [
        ("timm/resnet18x", "upernet", "seed=1", "model.backbone=timm/resnet18x.*resnet18"),
        ("/nowhere/at_all", "upernet", "seed=1", "/nowhere/at_all: no config of transformers"),
        ("bert", "upernet", "seed=1", "no backbone of the kind bert"),
        ("own", "upernet", "seed=1", "name its size, such as vit_b_rvsa"),
        ("timm/test_vit", "upernet", "seed=1", "takes images of 160 pixels only; got .* 64, None"),
        ("timm/test_vit", "upernet", WINDOWS_OF_96, "takes images of 160 pixels only; .* 160, 96"),
        ("resnet", "linear", "seed=1", "linear goes with backbones of this package"),
        ("resnet", "upernet", "optimizer.layer_decay=0.9", "layer_decay=0.9.*expected 1.0"),
        ("resnet", "upernet", "model.backbone_overrides.depht=1", "depht: the config.*no such"),
        ("timm/resnet18", "upernet", "efficiency.activation_checkpointing=true", "of timm do not"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, folders, backbone, architecture, override, message):
    overrides = [override] if isinstance(override, str) else override
    recipe = _recipe(tmp_path, architecture, folders.get(backbone, backbone), *overrides)
    with pytest.raises(ValueError, match=message):
        build_backbone_config(recipe)


def test_a_transformer_of_timm_trains_on_images_of_its_own_size(tmp_path):
    recipe = _recipe(tmp_path, "upernet", "timm/test_vit", "data.image_size=160")
    images = torch.zeros(1, 3, 160, 160)
    assert build_network(recipe, NAMES).eval()(images).logits.shape[:2] == (1, 2)


def test_a_rate_that_decays_needs_the_depth_of_parameters(tmp_path, folders):
    network = build_network(_recipe(tmp_path, "upernet", folders["resnet"]), NAMES)
    with pytest.raises(ValueError, match="layer_decay=0.5: ResNetBackbone does not tell the depth"):
        parameter_groups(network, lr=1.0, weight_decay=0.0, layer_decay=0.5)
