"""The step's benchmark: a real step, labels that fit, and parts that add up."""

import pytest
import torch

from benchmarks.pretraining_step import make_labels, run
from mtp_hf.data.schema import check_sample

PARTS = {
    "backbone, forward",
    "backbone, backward",
    "decoders, forward",
    "decoders and losses, backward",
    "losses",
    "assignment",
    "clipping and optimizer",
}


@pytest.fixture(scope="module")
def rows():
    return run(quick=True)


def test_the_first_row_is_the_step_against_the_plain_vit(rows):
    assert rows[0].case == "step, 112 px, 2 images of each of 3 sets"
    assert rows[0].value > 0 and rows[0].at_most == 19.0
    assert "31 objects" in rows[0].note
    regions = int(rows[0].note.split(", ")[-1].split()[0])
    assert regions >= 31  # every object is a region of its own


def test_the_parts_are_all_there_and_add_up_to_the_whole(rows):
    parts = {row.case.removeprefix("step: "): row.value for row in rows[1:]}
    assert set(parts) == PARTS
    assert all(share >= 0 for share in parts.values())
    assert sum(parts.values()) == pytest.approx(100)


def test_labels_are_what_the_model_is_trained_on():
    classes = {"a": ["x", "y"], "b": ["z"]}
    labels = make_labels(classes, 112)
    assert [label["dataset"] for label in labels] == ["a", "a", "b", "b"]
    assert [len(label["boxes"]) for label in labels] == [4, 5, 6, 7]
    for number, label in enumerate(labels):
        image = torch.zeros(3, 112, 112, dtype=torch.uint8)
        extra = {"image": image, "image_id": str(number), "orig_size": (112, 112)}
        check_sample({**label, **extra}, num_classes=len(classes[label["dataset"]]))
        assert label["instance_masks"].flatten(1).any(1).all()
