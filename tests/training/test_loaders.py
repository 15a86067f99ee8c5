"""Claims about data from a recipe."""

import dataclasses
import functools
import gc
import itertools
import resource
import time
import traceback

import datasets
import psutil
import pytest
import torch

from mtp_hf.data.multi_dataset import SampleError
from mtp_hf.training.loaders import (
    class_names,
    data_root,
    evaluation_loader,
    load_sources,
    train_loader,
)
from mtp_hf.training.recipe import load_recipe
from tests.training.process_group import run_processes

SIDE = 112  # of the images of `tiny_recipe`


def _with(recipe, section, **values):
    part = dataclasses.replace(getattr(recipe, section), **values)
    return dataclasses.replace(recipe, **{section: part})


def _batches(recipe, start_step, num, rank=0, world_size=1):
    sources = load_sources(recipe, "train", augment=True)
    loader = train_loader(
        recipe, sources, start_step=start_step, canvas=SIDE, rank=rank, world_size=world_size
    )
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
    list(evaluation_loader(samrs_recipe, sources, canvas=SIDE, rank=0, world_size=1))
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
    batch = next(
        iter(train_loader(recipe, sources, start_step=0, canvas=SIDE, rank=0, world_size=1))
    )
    loader = evaluation_loader(recipe, plain, canvas=SIDE, rank=0, world_size=1)
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
            for b in evaluation_loader(samrs_recipe, sources, canvas=SIDE, rank=rank, world_size=2)
            for i in _ids(b)
        ]
        for rank in range(2)
    ]
    assert len(shards[0] + shards[1]) == len(set(shards[0] + shards[1])) == 6


# Workers


@pytest.fixture
def started_before():
    """Processes of earlier tests: servers of multiprocessing, workers not yet collected."""
    gc.collect()
    return set(psutil.Process().children())


def _workers(started_before):
    """Processes that read images for the loader of this test."""
    return set(psutil.Process().children()) - started_before


def _has_no_workers_soon(started_before):
    deadline = time.monotonic() + 5
    while _workers(started_before) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _workers(started_before)


def test_with_a_gpu_batches_are_pinned_and_read_ahead(samrs_recipe, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    recipe = _with(samrs_recipe, "efficiency", num_workers=2)
    sources = load_sources(recipe, "train", augment=True)
    loader = train_loader(recipe, sources, start_step=0, canvas=SIDE, rank=0, world_size=1)
    assert loader.pin_memory
    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (2, 2, True)


def test_workers_end_with_their_loader_and_start_again_with_the_next(samrs_recipe, started_before):
    recipe = _with(samrs_recipe, "efficiency", num_workers=2)
    sources = load_sources(recipe, "validation")
    for _ in range(2):
        loader = evaluation_loader(recipe, sources, canvas=SIDE, rank=0, world_size=1)
        assert sum(len(batch["labels"]) for batch in loader) == 6
        assert len(_workers(started_before)) == 2
        del loader
        assert _has_no_workers_soon(started_before)


def test_workers_of_training_stay_while_a_split_is_validated(samrs_recipe, started_before):
    recipe = _with(samrs_recipe, "efficiency", num_workers=1)
    sources = load_sources(recipe, "train", augment=True)
    loader = train_loader(recipe, sources, start_step=0, canvas=SIDE, rank=0, world_size=1)
    batches = iter(loader)
    next(batches)
    at_first = _workers(started_before)
    list(
        evaluation_loader(
            recipe, load_sources(recipe, "validation"), canvas=SIDE, rank=0, world_size=1
        )
    )
    assert _workers(started_before) == at_first
    expected = train_loader(samrs_recipe, sources, start_step=1, canvas=SIDE, rank=0, world_size=1)
    assert _ids(next(batches)) == _ids(next(iter(expected)))


def _fail_for_one_image(row, *, image_id, row_to_sample):
    if row["image_id"] == image_id:
        raise OSError("the disk is\ngone")
    return row_to_sample(row)


def _with_one_bad_image(sources):
    """The first training image of the second set can no longer be read."""
    name, source = list(sources.items())[1]
    image_id = source.rows[0]["image_id"]
    reader = functools.partial(
        _fail_for_one_image, image_id=image_id, row_to_sample=source.row_to_sample
    )
    return {**sources, name: dataclasses.replace(source, row_to_sample=reader)}, name, image_id


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_that_cannot_be_read_is_named_and_its_worker_leaves_nothing_behind(
    samrs_recipe, started_before, num_workers
):
    recipe = _with(samrs_recipe, "efficiency", num_workers=num_workers)
    sources, name, image_id = _with_one_bad_image(load_sources(recipe, "train", augment=True))
    loader = train_loader(recipe, sources, start_step=0, canvas=SIDE, rank=0, world_size=1)
    with pytest.raises(SampleError) as caught:
        list(loader)
    assert str(caught.value) == (
        f"dataset {name!r}, row 0, image {image_id!r}: OSError: the disk is\ngone"
    )
    traceback.clear_frames(caught.tb)  # they hold the loader
    del loader
    assert _has_no_workers_soon(started_before)


def _hold_many_batches(recipe, cache):
    """Keep more tensors from workers than files may be open at the start."""
    datasets.config.HF_DATASETS_CACHE = cache
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    sources = load_sources(recipe, "train", augment=True)
    loader = train_loader(recipe, sources, start_step=0, canvas=SIDE, rank=0, world_size=1)
    batches = list(itertools.islice(loader, 12))
    return sum(sum(map(torch.is_tensor, label.values())) for b in batches for label in b["labels"])


def test_tensors_from_workers_may_be_more_than_the_files_that_a_shell_may_open(
    samrs_recipe, datasets_cache
):
    recipe = _with(samrs_recipe, "efficiency", num_workers=2)
    (num_tensors,) = run_processes(_hold_many_batches, recipe, datasets_cache, num_processes=1)
    assert num_tensors > 256
