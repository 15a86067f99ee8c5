"""Claims about data from a recipe."""

import dataclasses

import pytest
import torch

from mtp_hf.training.loaders import (
    class_names,
    data_root,
    load_sources,
    train_loader,
    validation_loader,
)
from mtp_hf.training.recipe import load_recipe


def _with(recipe, section, **values):
    part = dataclasses.replace(getattr(recipe, section), **values)
    return dataclasses.replace(recipe, **{section: part})


def _batches(recipe, start_step, num, rank=0, world_size=1):
    sources = load_sources(recipe, "train", augment=True)
    loader = train_loader(recipe, sources, start_step=start_step, rank=rank, world_size=world_size)
    iterator = iter(loader)
    return [next(iterator) for _ in range(num)]


def _ids(batch):
    return [f"{label['dataset']}/{label['image_id']}" for label in batch["labels"]]


def test_a_recipe_that_leaves_the_folder_to_the_user_asks_for_it():
    recipe = load_recipe("pretrain/samrs", result="vit_b_rvsa")
    with pytest.raises(ValueError, match="say where with data.root=FOLDER"):
        data_root(recipe)


def test_a_folder_that_is_not_there_is_named(tiny_recipe):
    with pytest.raises(ValueError, match="data.root=/nowhere is not a folder"):
        data_root(_with(tiny_recipe, "data", root="/nowhere"))


def test_classes_come_from_the_builder(tiny_recipe):
    counts = {name: len(names) for name, names in class_names(tiny_recipe).items()}
    assert counts == {"sior": 20, "sota_rbb": 18, "fast": 37}


def test_every_source_has_its_split(samrs_recipe):
    sizes = {name: len(s) for name, s in load_sources(samrs_recipe, "train").items()}
    assert sizes == {"sior": 4, "sota_rbb": 4, "fast": 4}
    sizes = {name: len(s) for name, s in load_sources(samrs_recipe, "validation").items()}
    assert set(sizes.values()) == {2}


def test_samples_can_be_limited(samrs_recipe):
    recipe = _with(samrs_recipe, "data", limit_samples=3)
    assert {len(s) for s in load_sources(recipe, "train").values()} == {3}
    assert {len(s) for s in load_sources(recipe, "validation", limit=1).values()} == {1}
    assert {len(s) for s in load_sources(recipe, "train", limit=100).values()} == {3}


def test_a_batch_has_the_recipe_s_images_of_each_source_on_the_square_canvas(samrs_recipe):
    (batch,) = _batches(samrs_recipe, 0, 1)
    assert batch["pixel_values"].shape == (6, 3, 112, 112)
    assert batch["pixel_values"].dtype == torch.uint8
    datasets = [label["dataset"] for label in batch["labels"]]
    assert datasets == ["sior", "sior", "sota_rbb", "sota_rbb", "fast", "fast"]


def test_two_processes_share_the_batch_of_one(samrs_recipe):
    (whole,) = _batches(samrs_recipe, 0, 1)
    halves = [_batches(samrs_recipe, 0, 1, rank, 2)[0] for rank in range(2)]
    assert sorted(_ids(halves[0]) + _ids(halves[1])) == sorted(_ids(whole))


def test_accumulated_batches_share_the_images_of_a_step(samrs_recipe):
    (whole,) = _batches(samrs_recipe, 3, 1)
    recipe = _with(samrs_recipe, "schedule", gradient_accumulation=2)
    parts = _batches(recipe, 3, 2)
    assert sorted(_ids(parts[0]) + _ids(parts[1])) == sorted(_ids(whole))


def test_a_loader_that_starts_later_gives_the_same_batches(samrs_recipe):
    straight = _batches(samrs_recipe, 0, 4)
    resumed = _batches(samrs_recipe, 2, 2)
    for expected, batch in zip(straight[2:], resumed, strict=True):
        assert _ids(batch) == _ids(expected)
        assert torch.equal(batch["pixel_values"], expected["pixel_values"])


def test_worker_processes_give_the_same_batches(samrs_recipe):
    (expected,) = _batches(samrs_recipe, 1, 1)
    (batch,) = _batches(_with(samrs_recipe, "efficiency", num_workers=1), 1, 1)
    assert torch.equal(batch["pixel_values"], expected["pixel_values"])


def test_loading_does_not_draw_on_the_random_numbers_of_training(samrs_recipe):
    state = torch.get_rng_state()
    _batches(samrs_recipe, 0, 1)
    sources = load_sources(samrs_recipe, "validation")
    list(validation_loader(samrs_recipe, sources, rank=0, world_size=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_augmentation_can_be_switched_off_by_the_recipe(samrs_recipe):
    recipe = _with(
        samrs_recipe,
        "augment",
        flip_probability=0.0,
        scale_range=(1.0, 1.0),
        photometric_distortion=False,
    )
    sources = load_sources(recipe, "train", augment=True)
    plain = load_sources(recipe, "train")
    batch = next(iter(train_loader(recipe, sources, start_step=0, rank=0, world_size=1)))
    loader = validation_loader(recipe, plain, rank=0, world_size=1)
    images = {
        id_: image for b in loader for id_, image in zip(_ids(b), b["pixel_values"], strict=True)
    }
    for image_id, image in zip(_ids(batch), batch["pixel_values"], strict=True):
        assert torch.equal(image, images[image_id])


def test_validation_shards_are_disjoint_and_cover_everything(samrs_recipe):
    sources = load_sources(samrs_recipe, "validation")
    shards = [
        [
            i
            for b in validation_loader(samrs_recipe, sources, rank=rank, world_size=2)
            for i in _ids(b)
        ]
        for rank in range(2)
    ]
    assert len(shards[0] + shards[1]) == len(set(shards[0] + shards[1])) == 6
