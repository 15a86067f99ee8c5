"""Claims about the recipes of finetuning: complete, as published, and whole from file to network.

Numbers of the original that are compared with: heads and iterations an epoch from its logs, groups
of the optimizer recorded from its code, learning rates worked out by hand from its schedulers.
"""

import dataclasses
import json
import math

import pytest
import torch

from mtp_hf.dataset_scripts import BUILDERS, get_builder
from mtp_hf.dataset_scripts.class_names import DATASET_CLASSES
from mtp_hf.metrics.finetuning import HEADLINES, headline
from mtp_hf.modeling.convert_dense_heads import SEGMENTATION_HEAD_TABLE
from mtp_hf.modeling.convert_internimage import INTERNIMAGE_TABLE
from mtp_hf.modeling.convert_mtp_checkpoint import (
    VIT_RVSA_TABLE,
    move_table,
)
from mtp_hf.training.architectures import build_network
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.loop import prepare
from mtp_hf.training.optim import learning_rate_factor, parameter_groups
from mtp_hf.training.processes import make_accelerator
from mtp_hf.training.recipe import load_recipe, recipe_names, recipe_rows
from mtp_hf.training.recipe_sections import micro_batch_sizes
from mtp_hf.training.tasks import TASKS, make_transforms
from tests.original_names import rename_keys
from tests.training.process_group import run_processes

NAMES = recipe_names(FinetuneRecipe)
ROWS = ["vit_b_rvsa_mtp", "vit_b_rvsa_mae", "vit_l_rvsa_mtp", "vit_l_rvsa_mae"] + [
    "internimage_xl_mtp",
    "internimage_xl_imagenet",
]
EVERY_ROW = [(name, row) for name in NAMES for row in ROWS]
SETS = {
    "scene_classification": {"eurosat", "resisc45"},
    "horizontal_detection": {"dior", "xview"},
    "rotated_detection": {"dior_r", "fair1m_v2", "dota_v1", "dota_v2"},
    "semantic_segmentation": {"loveda", "spacenet_v1"},
    "change_detection": {"oscd", "whu", "levir", "cdd"},
}
# Parameters outside the backbone: ViT-B, ViT-L, InternImage-XL.
HEAD_PARAMETERS = {
    "eurosat": (7_690, 10_250, 15_370),
    "resisc45": (34_605, 46_125, 69_165),
    "dior": (17_740_916, 18_003_060, 17_691_764),
    "xview": (4_720_640 + 6_048_320, 5_507_072 + 6_048_320, 6_588_416 + 6_048_320),
    "dior_r": (17_665_583, 17_665_583 + 262_144, 17_665_583 - 49_152),
    "fair1m_v2": (17_683_008, 17_683_008 + 262_144, 17_683_008 - 49_152),
    "dota_v1": (17_660_458, 17_660_458 + 262_144, 17_660_458 - 49_152),
    "dota_v2": (17_663_533, 17_663_533 + 262_144, 17_663_533 - 49_152),
    "loveda": (32_259_591, 34_356_743, 36_879_879),
    "spacenet_v1": (32_257_026, 34_354_178, 36_877_314),
    **dict.fromkeys(("oscd", "whu", "levir", "cdd"), (14_417_794, 17_661_826, 16_408_450)),
}
# Metric that a result is known by, in percent: ViT-B, ViT-L, InternImage-XL from MTP.
README = {
    "eurosat": (98.76, 98.78, 99.24),
    "resisc45": (95.57, 95.88, 96.27),
    "xview": (16.40, 19.40, 18.20),
    "dior": (79.00, 81.70, 78.30),
    "dior_r": (71.29, 74.54, 72.17),
    "fair1m_v2": (51.92, 53.00, 50.93),
    "spacenet_v1": (79.63, 79.54, 79.16),
    "loveda": (52.39, 54.17, 54.17),
    "oscd": (53.36, 55.92, 55.61),
    "whu": (94.32, 94.75, 95.59),
    "levir": (92.22, 92.67, 92.54),
    "cdd": (97.87, 97.98, 98.33),
}
# Training images -> optimizer steps of an epoch, as in the logs.
EPOCHS = {
    "scene_classification/eurosat": (16_200, 254),
    "scene_classification/resisc45": (6_300, 99),
    "horizontal_detection/dior": (11_725, 2_932),
    "horizontal_detection/xview": (10_044, 2_511),
    "rotated_detection/dior_r": (11_725, 2_932),
    "rotated_detection/fair1m_v2": (41_872, 10_468),
    "rotated_detection/dota_v1": (68_328, 17_082),
    "rotated_detection/dota_v2": (17_556, 4_389),
    "change_detection/oscd": (827, 26),
    "change_detection/whu": (5_334, 167),
    "change_detection/levir": (7_120, 223),
    "change_detection/cdd": (10_000, 313),
}


def _recipe(name, row="vit_b_rvsa_mtp", *overrides):
    return load_recipe(name, result=row, overrides=overrides)


def _network(recipe, classes):
    with torch.device("meta"):  # full size without memory
        return build_network(recipe, DATASET_CLASSES[classes])


def test_every_published_set_has_its_recipe():
    found = {task: {n.split("/")[1] for n in NAMES if n.startswith(f"{task}/")} for task in TASKS}
    assert found == SETS


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_row_for_each_backbone_with_and_without_mtp(name):
    assert recipe_rows(name) == ROWS


@pytest.mark.parametrize(("name", "row"), EVERY_ROW)
def test_every_row_says_what_it_starts_from_and_has_transforms(name, row):
    recipe = _recipe(name, row)
    assert recipe.task == name.split("/")[0]
    assert row == f"{recipe.model.backbone}_{row.rsplit('_', 1)[1]}"
    if row.endswith("_mtp"):
        assert recipe.model.init == f"mtp/{recipe.model.backbone.replace('_', '-')}"
        assert recipe.model.needs_init is None
    else:
        assert recipe.model.init is None
        assert ".pth, " in recipe.model.needs_init
    for augment in (True, False):
        assert make_transforms(recipe, augment=augment).transforms


@pytest.mark.parametrize(("name", "row"), EVERY_ROW)
def test_rates_and_layer_decay_are_those_that_were_in_effect(name, row):
    recipe = _recipe(name, row)
    is_vit = row.startswith("vit")
    assert recipe.optimizer.layer_decay == (0.9 if is_vit else 1.0)
    expected = 1e-4 if "detection" in name and "change" not in name else 6e-5 if is_vit else 2e-5
    assert recipe.optimizer.lr == expected
    assert (recipe.optimizer.weight_decay, recipe.optimizer.max_grad_norm) == (0.05, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_networks_have_as_many_parameters_in_their_heads_as_published(name):
    classes = name.split("/")[1]
    found = []
    for row in ("vit_b_rvsa_mtp", "vit_l_rvsa_mtp", "internimage_xl_mtp"):
        network = _network(_recipe(name, row), classes)
        head = set(network.parameters()) - set(network.backbone.parameters())
        found.append(sum(parameter.numel() for parameter in head))
        kind = network.backbone.config
        assert kind.drop_path_rate == (0.3 if row.startswith("vit") else 0.2)
    assert tuple(found) == HEAD_PARAMETERS[classes]


@pytest.mark.parametrize("name", NAMES)
def test_data_sets_have_the_configs_options_and_classes_that_recipes_ask_for(name):
    data = _recipe(name).data
    assert data.builder in BUILDERS
    builder = get_builder(data.builder)
    configs = {config.name: config for config in builder.BUILDER_CONFIGS}
    config = configs[data.config]
    fields = {field.name for field in dataclasses.fields(config)}
    assert set(data.options) <= fields
    # What the recipe says of tiles is what the builder does by default.
    defaults = {key: getattr(config, key) for key in data.options if key != "keep_empty"}
    wishes = {key: value for key, value in data.options.items() if key != "keep_empty"}
    assert {key: _plain(value) for key, value in defaults.items()} == wishes


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers_are_percentages_of_metrics_that_are_measured(name):
    for row in ROWS:
        recipe = _recipe(name, row)
        assert set(recipe.published) <= set(HEADLINES[recipe.task])
        assert set(recipe.reproduced) <= set(HEADLINES[recipe.task])
        assert all(1 < value < 100 for value in recipe.published.values())


def test_headline_numbers_from_mtp_are_those_of_the_original_readme():
    found = {}
    for name in NAMES:
        recipes = [_recipe(name, row) for row in ROWS if row.endswith("_mtp")]
        numbers = tuple(each.published.get(headline(each.task)) for each in recipes)
        if any(numbers):
            found[name.split("/")[1]] = numbers
    assert found == README  # no test result of DOTA is in it


def test_nothing_is_chosen_on_a_test_split_where_there_is_another():
    for name in ("whu", "levir", "cdd"):
        recipe = _recipe(f"change_detection/{name}")
        assert (recipe.data.evaluate, recipe.evaluation.every) == ("test", 0)


# The schedule


@pytest.mark.parametrize("name", EPOCHS)
def test_epochs_have_the_length_of_the_logs(name):
    images, length = EPOCHS[name]
    recipe = _recipe(name)
    in_steps = recipe.in_steps({recipe.data.builder: images})
    assert in_steps.schedule.steps == length * recipe.schedule.epochs
    assert in_steps.evaluation.every == length * recipe.evaluation.every


def _warmup(step, length):
    """mmengine's LinearLR from 1e-6 over `length` steps."""
    return 1e-6 + (1 - 1e-6) * step / (length - 1)


def _cosine(done, length):
    return (1 + math.cos(math.pi * done / length)) / 2


# Recipe -> training images, and the factor on the rate by step.
FACTORS = {
    # 254 steps an epoch, 5 epochs of warm-up, a cosine over 95 epochs that moves once an epoch
    "scene_classification/eurosat": (
        16_200,
        {
            0: 1e-6,
            635: _warmup(635, 1270),
            1269: 1.0,
            1270: 1.0,
            1523: 1.0,
            1524: _cosine(1, 95),
            1777: _cosine(1, 95),
            13_462: _cosine(48, 95),
            25_399: _cosine(94, 95),
        },
    ),
    "change_detection/levir": (
        7_120,
        {0: 1e-6, 1114: 1.0, 1115: 1.0, 1338: _cosine(1, 145), 33_449: _cosine(144, 145)},
    ),
    # iterations: 1,500 of warm-up, a cosine over 78,500
    "semantic_segmentation/loveda": (
        None,
        {
            0: 1e-6,
            750: _warmup(750, 1500),
            1499: 1.0,
            1500: 1.0,
            1501: _cosine(1, 78_500),
            40_750: 0.5,
            79_999: _cosine(78_499, 78_500),
        },
    ),
    # 500 iterations of warm-up within the first epoch, a tenth from epochs 8 and 11 on
    "horizontal_detection/dior": (
        11_725,
        {
            0: 1e-6,
            250: _warmup(250, 500),
            499: 1.0,
            500: 1.0,
            23_455: 1.0,
            23_456: 0.1,
            32_251: 0.1,
            32_252: 0.01,
            35_183: 0.01,
        },
    ),
    "rotated_detection/dota_v2": (
        17_556,
        {0: 1e-6, 105_335: 1.0, 105_336: 0.1, 140_448: 0.01, 166_782: 0.001, 175_559: 0.001},
    ),
}


@pytest.mark.parametrize("name", FACTORS)
def test_the_rate_follows_the_schedulers_of_the_original(name):
    images, expected = FACTORS[name]
    recipe = _recipe(name)
    if images:
        recipe = recipe.in_steps({recipe.data.builder: images})
    found = {step: learning_rate_factor(step, recipe.schedule) for step in expected}
    assert found == pytest.approx(expected, rel=1e-9)
    assert recipe.schedule.steps - 1 == max(expected)


# Groups of the optimizer

REDUCED = {
    "vit": (
        "rvsa-b-upernet-512-mae-mtp-loveda.py",
        "vit_b_rvsa_mtp",
        {"num_hidden_layers": 4, "full_attention_interval": 2, "out_indices": [1, 2, 3, 4]},
        VIT_RVSA_TABLE,
    ),
    "internimage": (
        "intern-xl-upernet-512-imp-mtp-loveda.py",
        "internimage_xl_mtp",
        {"depths": [1, 1, 2, 1]},
        INTERNIMAGE_TABLE,
    ),
}


@pytest.mark.parametrize("kind", REDUCED)
def test_groups_of_a_recipe_are_those_that_the_original_made(kind, shared_dir):
    config, row, sizes, table = REDUCED[kind]
    groups = json.loads((shared_dir / "fixtures" / "optimizer_groups.json").read_text())
    (recorded,) = (value["groups"] for name, value in groups.items() if config in name)
    overrides = [f"model.backbone_overrides.{key}={value}" for key, value in sizes.items()]
    recipe = _recipe("semantic_segmentation/loveda", row, *overrides)
    network = _network(recipe, "loveda")
    optimizer = recipe.optimizer
    ours = parameter_groups(
        network,
        lr=optimizer.lr,
        weight_decay=optimizer.weight_decay,
        layer_decay=optimizer.layer_decay,
    )
    found = {name: (g["lr"], g["weight_decay"]) for g in ours for name in g["names"]}
    theirs = {name: (g["lr"], g["weight_decay"]) for g in recorded.values() for name in g["names"]}
    rows = [*move_table(table, "backbone.", "backbone."), *SEGMENTATION_HEAD_TABLE]
    expected = rename_keys(theirs, rows)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-12), name


def test_layers_of_vit_b_have_the_rates_of_the_logs():
    recipe = _recipe("scene_classification/eurosat")
    network = _network(recipe, "eurosat")
    groups = parameter_groups(network, lr=6e-5, weight_decay=0.05, layer_decay=0.9)
    scales = {group["name"].split("_")[1]: group["lr_scale"] for group in groups}
    assert scales == pytest.approx({str(i): 0.9 ** (13 - i) for i in range(14)}, rel=1e-12)
    assert scales["0"] == pytest.approx(0.25419, abs=5e-6)


def _rates_of_groups(name, images, steps, num_processes):
    """Rate of every group at some steps of a run, by step and group, as Accelerate sets it."""
    recipe = _recipe(name)
    recipe = recipe.in_steps({recipe.data.builder: images})
    micro_batch_sizes(recipe, num_processes)  # the batch can be shared
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "mlp_ratio": 1}
    overrides = [f"model.backbone_overrides.{key}={value}" for key, value in sizes.items()]
    small = _recipe("scene_classification/eurosat", "vit_b_rvsa_mtp", *overrides)
    accelerator = make_accelerator(recipe, None, ".")
    assert accelerator.num_processes == num_processes
    prepared = prepare(accelerator, build_network(small, ["a", "b"]), recipe)
    found = {}
    for step in range(max(steps) + 1):
        if step in steps:
            groups = prepared.optimizer.param_groups
            found[step] = {group["name"]: group["lr"] for group in groups}
        prepared.optimizer.step()
        prepared.schedule.step()
    return found


@pytest.mark.parametrize("num_processes", [1, 2, 8])
def test_every_group_has_its_rate_at_known_steps_on_any_number_of_processes(num_processes):
    name, images = "scene_classification/eurosat", 640  # 10 steps an epoch
    factors = {
        0: 1e-6,
        25: _warmup(25, 50),
        49: 1.0,
        59: 1.0,
        60: _cosine(1, 95),
        119: _cosine(6, 95),
    }
    arguments = (name, images, tuple(factors), num_processes)
    for rates in run_processes(_rates_of_groups, *arguments, num_processes=num_processes):
        for step, factor in factors.items():
            expected = {
                f"layer_{layer}_{kind}": 6e-5 * 0.9 ** (13 - layer) * factor
                for layer in range(14)
                for kind in ("decay", "no_decay")
            }
            assert rates[step] == pytest.approx(expected, rel=1e-9), step
