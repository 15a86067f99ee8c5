"""The benchmark of finetuning steps: real steps of every task, and parts that add up."""

import pytest
import torch

from benchmarks import finetune_step
from benchmarks.finetune_step import RECIPES, make_samples, run
from benchmarks.pretraining_step import ASSIGNMENT, LOSSES
from mtp_hf.data.collate import Collate
from mtp_hf.training.tasks import TASKS

PARTS = {
    "data",
    "backbone, forward",
    "backbone, backward",
    "heads, forward",
    "heads and losses, backward",
    "clipping and optimizer",
}


@pytest.fixture(scope="module")
def rows():
    return run(quick=True)


def test_every_task_has_its_images_a_second(rows):
    speeds = {row.case.split(",")[0]: row for row in rows if row.unit.endswith("/s")}
    assert set(speeds) == set(TASKS) == {name.split("/")[0] for name in RECIPES}
    assert all(row.value > 0 for row in speeds.values())
    assert speeds["change_detection"].unit == "pairs/s"


def test_the_parts_of_every_task_add_up_to_the_whole(rows):
    for task in TASKS:
        parts = {
            row.case.removeprefix(f"{task}: "): row.value
            for row in rows
            if row.case.startswith(f"{task}: ")
        }
        assert set(parts) >= PARTS
        assert all(share >= 0 for share in parts.values()), task
        assert sum(parts.values()) == pytest.approx(100)
        assert ("assignment" in parts) == (task in ("horizontal_detection", "rotated_detection"))


def test_nothing_stays_patched_after_a_run(rows):
    for owner, name in (*ASSIGNMENT, *LOSSES):
        assert getattr(owner, name).__name__ == name


@pytest.mark.parametrize("task", TASKS)
def test_samples_are_collated_like_those_of_training(task):
    batch = Collate()(make_samples(task, 64, 2, 3))
    assert batch["pixel_values"].shape == (2, 3, 64, 64)
    assert ("pixel_values_post" in batch) == (task == "change_detection")
    for label in batch["labels"]:
        for name in ("boxes", "rotated_boxes"):
            if name in label:
                assert len(label[name]) == finetune_step.NUM_OBJECTS
    if task == "semantic_segmentation":
        assert int(torch.stack([x["semantic_labels"] for x in batch["labels"]]).max()) <= 2
