"""Rows of every task to batches: drawn rows always, real ones where they are."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mtp_hf.data import samples as read
from mtp_hf.data import transforms_change as change
from mtp_hf.data import transforms_classification as scenes
from mtp_hf.data import transforms_detection as detection
from mtp_hf.data import transforms_segmentation as segmentation
from mtp_hf.data.multi_dataset import (
    MultiDatasetBatchSampler,
    SourceDataset,
    build_eval_loader,
    build_train_loader,
)
from mtp_hf.data.schema import check_sample
from mtp_hf.dataset_scripts.loading import load_dataset

# Task -> reader, training and validation transforms for pictures of about 64 pixels, canvas.
TASKS = {
    "classification": (
        read.classification_row_to_sample,
        scenes.classification_train_transforms(48),
        scenes.classification_eval_transforms(48, 56),
        48,
    ),
    "detection": (
        read.detection_row_to_sample,
        detection.detection_train_transforms(80),
        detection.detection_eval_transforms(80),
        None,
    ),
    "rotated_detection": (
        read.oriented_row_to_sample,
        detection.rotated_train_transforms(80, quarter_turn_labels=[1]),
        detection.rotated_eval_transforms(80),
        None,
    ),
    "segmentation": (
        read.segmentation_row_to_sample,
        segmentation.segmentation_train_transforms(48),
        segmentation.segmentation_eval_transforms((96, 96)),
        48,
    ),
    "change_detection": (
        read.change_row_to_sample,
        change.change_train_transforms(None, 64),
        change.change_eval_transforms(64),
        64,
    ),
}
NUM_ROWS = 6


def _row(index):
    """A row that has the columns of all tasks, 64 x 64 pixels."""
    rng = np.random.default_rng(index)
    corner, side = rng.integers(5, 30, (2, 2)), rng.integers(8, 30, (2, 2))
    boxes = [[*map(float, c), *map(float, s)] for c, s in zip(corner, side, strict=True)]
    pictures = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    return {
        "image_id": f"drawn-{index}",
        "image": Image.fromarray(pictures[0]),
        "image_post": Image.fromarray(pictures[1]),
        "mask": Image.fromarray(
            np.kron(rng.integers(0, 2, (8, 8)), np.ones((8, 8))).astype("uint8")
        ),
        "label": index % 3,
        "objects": {
            "bbox": boxes,
            "polygon": [[x, y, x + w, y, x + w, y + h, x, y + h] for x, y, w, h in boxes],
            "category": [0, 1 + index % 2],
            "difficult": [0, 1],
            "iscrowd": [False, False],
        },
    }


ROWS = [_row(index) for index in range(NUM_ROWS)]


def _sources(task, training=True):
    reader, train, evaluation, _ = TASKS[task]
    transforms = train if training else evaluation
    return {"drawn": SourceDataset("drawn", ROWS, partial(reader, dataset="drawn"), transforms)}


def _train_batches(task, num_workers=0, start_step=0):
    sampler = MultiDatasetBatchSampler(
        {"drawn": NUM_ROWS}, {"drawn": 2}, num_steps=5, start_step=start_step, seed=3
    )
    return list(
        build_train_loader(
            _sources(task), sampler, image_size=TASKS[task][3], num_workers=num_workers
        )
    )


def _assert_equal(first, second):
    assert set(first) == set(second)
    for key in set(first) - {"labels"}:
        assert torch.equal(first[key], second[key])
    for label1, label2 in zip(first["labels"], second["labels"], strict=True):
        assert set(label1) == set(label2)
        for key, value in label1.items():
            same = label2[key] == value
            assert same.all() if isinstance(value, torch.Tensor) else same


@pytest.mark.parametrize("task", TASKS)
def test_workers_and_resuming_change_nothing(task):
    """Also where a library draws from global generators, which a worker seeds differently."""
    whole = _train_batches(task)
    torch.rand(3), np.random.rand(3)
    by_worker, tail = _train_batches(task, num_workers=1), _train_batches(task, start_step=3)
    for first, second in zip(whole + whole[3:], by_worker + tail, strict=True):
        _assert_equal(first, second)


@pytest.mark.parametrize("task", TASKS)
def test_epochs_see_other_versions_of_the_same_images(task):
    """Five steps of two are an epoch of six images and four of the next."""
    batches = _train_batches(task)
    versions: dict[str, list[torch.Tensor]] = {}
    for batch in batches:
        for label, pixels in zip(batch["labels"], batch["pixel_values"], strict=True):
            versions.setdefault(label["image_id"], []).append(pixels)
    assert len(versions) == NUM_ROWS
    twice = [pair for pair in versions.values() if len(pair) == 2]
    assert len(twice) == 4
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in twice)


@pytest.mark.parametrize("task", TASKS)
def test_evaluation_reads_every_image_once_and_draws_nothing(task):
    loaders = [
        build_eval_loader(_sources(task, training=False), batch_size=n, num_workers=0)
        for n in (1, 4)
    ]
    single, joint = ([label for b in loader for label in b["labels"]] for loader in loaders)
    assert [label["image_id"] for label in single] == [row["image_id"] for row in ROWS]
    for first, second in zip(single, joint, strict=True):
        for key, value in first.items():
            same = second[key] == value
            assert same.all() if isinstance(value, torch.Tensor) else same


def test_batches_hold_what_the_models_take():
    scene, pair = (_train_batches(task)[0] for task in ("classification", "change_detection"))
    assert scene["image_labels"].shape == (2,)
    assert pair["pixel_values"].shape == pair["pixel_values_post"].shape == (2, 3, 64, 64)
    for task, keys in (
        ("detection", {"boxes", "class_labels"}),
        ("rotated_detection", {"rotated_boxes", "rotated_class_labels", "rotated_difficult"}),
        ("segmentation", {"semantic_labels"}),
        ("change_detection", {"change_labels"}),
    ):
        batch = _train_batches(task)[0]
        assert keys <= set(batch["labels"][0])
        assert batch["pixel_values"].dtype == torch.uint8
        assert batch["pixel_values"].shape[-1] % 16 == 0


@settings(max_examples=60, deadline=None)
@given(
    task=st.sampled_from(sorted(TASKS)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    polygons=st.lists(st.lists(st.floats(-50, 150, width=32), min_size=8, max_size=8), max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_picture_and_any_objects_pass(task, size, polygons, seed):
    """One pixel, thin strips, no objects, objects far outside, corners in any order."""
    rng = np.random.default_rng(seed)
    corners = np.reshape(polygons, (-1, 4, 2)).astype(np.float32)
    low, high = corners.min(axis=1), corners.max(axis=1)
    row = {
        "image_id": "any",
        "image": Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)),
        "image_post": Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)),
        "mask": Image.fromarray(rng.choice([0, 1, 255], size).astype(np.uint8)),
        "label": 2,
        "objects": {
            "bbox": np.concatenate([low, high - low], axis=1).tolist(),
            "polygon": polygons,
            "category": [1] * len(polygons),
            "difficult": [0] * len(polygons),
        },
    }
    reader, train, evaluation, _ = TASKS[task]
    for transforms in (train, evaluation):
        sample = transforms(reader(row, dataset="drawn"), rng)
        check_sample(sample, 3)
        assert sample["orig_size"] == size
        for key in ("boxes", "rotated_boxes"):
            assert len(sample.get(key, [])) <= len(polygons)


REAL = [
    ("eurosat", None, "eurosat", "train", "classification"),
    ("dior", "hbb", "dior", "train", "detection"),
    ("dota", "v2.0", "dota", "train", "rotated_detection"),
    ("fair1m", "v2.0", "fair1m_v2.0", "train", "rotated_detection"),
    ("loveda", None, "loveda", "train", "segmentation"),
    ("levir_cd", None, "levir_cd_256", "train", "change_detection"),
    ("oscd", "rgb_tiles", "oscd", "train", "change_detection"),
]


@pytest.mark.parametrize(("name", "config", "folder", "split", "task"), REAL)
def test_rows_of_the_builders_pass_through(name, config, folder, split, task, shared_dir, tmp_path):
    root = shared_dir / "data" / "samples" / folder
    rows = load_dataset(
        name, config, data_dir=root, split=f"{split}[:2]", cache_dir=tmp_path, quiet=True
    )
    reader, train, evaluation, _ = TASKS[task]
    for index, row in enumerate(rows):
        for transforms in (train, evaluation):
            sample = transforms(reader(row, dataset=name), np.random.default_rng(index))
            check_sample(sample)
            assert sample["image"].float().std() > 1.0
    assert len(rows) > 0
