"""Claims about the networks that recipes describe."""

import dataclasses

import pytest

from mtp_hf.training.architectures import ARCHITECTURES, BACKBONES, build_network
from mtp_hf.training.finetune_schema import (
    FinetuneData,
    FinetuneModel,
    FinetuneRecipe,
    FinetuneSchedule,
)
from mtp_hf.training.tasks import TASKS
from tests.training.tiny_finetune import BACKBONE, DETECTOR

NAMES = ["a", "b", "c"]
HEADS = {
    "linear": {},
    "faster_rcnn": DETECTOR,
    "retinanet": {"hidden_size": 8},
    "oriented_rcnn": DETECTOR,
    "upernet": {"hidden_size": 8},
    "siamese_unet": {"hidden_sizes": [16, 12, 8, 8]},
}
SMALL = {"vit_t_rvsa": BACKBONE, "internimage_tiny": {}}


def _recipe(architecture, backbone="vit_t_rvsa", **model):
    task = next(name for name, each in TASKS.items() if architecture in each.architectures)
    fields = {"head": HEADS[architecture], "backbone_overrides": SMALL.get(backbone, {}), **model}
    return FinetuneRecipe(
        task=task,
        data=FinetuneData(builder="eurosat", image_size=128),
        model=FinetuneModel(architecture=architecture, backbone=backbone, **fields),
        schedule=FinetuneSchedule(epochs=1),
    )


@pytest.mark.parametrize("backbone", SMALL)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_built_on_both_backbones(architecture, backbone):
    network = build_network(_recipe(architecture, backbone), NAMES)
    assert type(network) in ARCHITECTURES[architecture].models.values()
    assert list(network.config.id2label.values()) == NAMES
    assert network.backbone.config.model_type == BACKBONES[backbone][0].model_type


@pytest.mark.parametrize(
    ("architecture", "variant", "has_rel_pos"),
    [
        ("linear", "multi_depth", True),
        ("faster_rcnn", "multi_depth_pyramid", False),
        ("retinanet", "multi_depth_pyramid", False),
        ("oriented_rcnn", "multi_depth_pyramid", False),
        ("upernet", "multi_depth_pyramid", True),
        ("siamese_unet", "multi_depth", True),
    ],
)
def test_the_vit_is_the_published_copy_of_each_head(architecture, variant, has_rel_pos):
    config = build_network(_recipe(architecture), NAMES).backbone.config
    assert (config.feature_variant, config.use_full_attention_rel_pos) == (variant, has_rel_pos)
    assert config.image_size == 128 and config.drop_path_rate == 0.3


def test_overrides_win():
    overrides = {**BACKBONE, "drop_path_rate": 0.1}
    network = build_network(_recipe("linear", backbone_overrides=overrides), NAMES)
    assert network.backbone.config.drop_path_rate == 0.1


def test_every_task_has_an_architecture():
    assert {name for task in TASKS.values() for name in task.architectures} == set(ARCHITECTURES)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"backbone": "vit_h_rvsa"}, r"model\.backbone=vit_h_rvsa"),
        ({"head": {"width": 3}}, r"model\.head: .*width"),
        ({"backbone_overrides": {"depth": 3}}, r"model\.backbone_overrides: .*depth"),
    ],
)
def test_what_is_not_there_is_named(model, message):
    with pytest.raises(ValueError, match=message):
        build_network(_recipe("upernet", **model), NAMES)


def test_an_unknown_architecture_is_named():
    recipe = _recipe("upernet")
    model = dataclasses.replace(recipe.model, architecture="unet")
    with pytest.raises(ValueError, match=r"model\.architecture=unet"):
        build_network(dataclasses.replace(recipe, model=model), NAMES)
