"""Claims about mixing the scenes of a batch as a recipe says."""

import pytest
import torch

from mtp_hf.training.batch_mixing import make_mix, mix_batch
from mtp_hf.training.recipe import load_recipe
from tests.training.tiny_finetune import write_recipe


def _recipe(tmp_path, *overrides, task="scene_classification"):
    return load_recipe(str(write_recipe(tmp_path / "recipe.yaml", task)), overrides=overrides)


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 8, 8, generator=generator)
    return {"pixel_values": images, "labels": torch.tensor([0, 1, 2, 1])}


def _mixed(recipe, inputs, **place):
    copy = {name: value.clone() for name, value in inputs.items()}
    return mix_batch(make_mix(recipe, 3), copy, **{"seed": 1, "number": 2, "process": 0, **place})


def test_nothing_is_mixed_by_default(tmp_path):
    assert make_mix(_recipe(tmp_path), 3) is None


@pytest.mark.parametrize("kind", ["mixup_alpha", "cutmix_alpha"])
def test_labels_become_shares_and_images_change(tmp_path, inputs, kind):
    mixed = _mixed(_recipe(tmp_path, f"mix.{kind}=1.0"), inputs)
    assert mixed["labels"].shape == (4, 3) and mixed["labels"].dtype == torch.float32
    torch.testing.assert_close(mixed["labels"].sum(dim=1), torch.ones(4), rtol=0, atol=1e-6)
    assert not torch.equal(mixed["pixel_values"], inputs["pixel_values"])


@pytest.mark.parametrize("changed", ["seed", "number", "process"])
def test_the_mix_depends_on_seed_batch_and_process_alone(tmp_path, inputs, changed):
    recipe = _recipe(tmp_path, "mix.mixup_alpha=0.8")
    torch.manual_seed(5)
    first = _mixed(recipe, inputs)
    torch.manual_seed(6)
    again, other = _mixed(recipe, inputs), _mixed(recipe, inputs, **{changed: 7})
    assert torch.equal(first["pixel_values"], again["pixel_values"])
    assert torch.equal(first["labels"], again["labels"])
    assert not torch.equal(first["pixel_values"], other["pixel_values"])


def test_a_probability_of_zero_leaves_images_and_makes_shares_of_one(tmp_path, inputs):
    mixed = _mixed(_recipe(tmp_path, "mix.mixup_alpha=1.0", "mix.probability=0.0"), inputs)
    assert torch.equal(mixed["pixel_values"], inputs["pixel_values"])
    assert torch.equal(mixed["labels"].argmax(dim=1), inputs["labels"])
    assert mixed["labels"].max(dim=1).values.tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("mix.mixup_alpha=-1.0", "mix.mixup_alpha: expected at least 0, got -1.0"),
        ("mix.probability=2.0", "mix.probability: expected 0 to 1, got 2.0"),
        ("mix.cutmix=1.0", "mix.cutmix.*cutmix_alpha"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        _recipe(tmp_path, override)


def test_other_tasks_have_nothing_to_mix(tmp_path):
    with pytest.raises(ValueError, match="mix goes with task=scene_classification"):
        _recipe(tmp_path, "mix.mixup_alpha=1.0", task="semantic_segmentation")
