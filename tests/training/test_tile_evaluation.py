"""Claims about scoring whole images from tiles."""

import dataclasses
import shutil

import pytest
import torch

from mtp_hf.metrics.finetuning import TaskEvaluator
from mtp_hf.training.recipe import load_recipe
from mtp_hf.training.tile_evaluation import (
    MergedTilesEvaluator,
    keep_origin,
    whole_images,
    with_all_tiles,
)
from tests.training.tiny_finetune import write_recipe

BOXES = torch.tensor([[100.0, 60.0, 20.0, 10.0, 0.0], [20.0, 30.0, 16.0, 8.0, 0.5]])


def references():
    return {
        "P1": {
            "image_id": "P1",
            "rotated_boxes": BOXES,
            "rotated_class_labels": torch.tensor([0, 1]),
            "rotated_difficult": torch.tensor([0, 0]),
        }
    }


def tile(x, y, boxes, labels, score=0.9):
    found = {
        "rotated_boxes": boxes - torch.tensor([x, y, 0, 0, 0]),
        "scores": torch.full((len(boxes),), score),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "tile": {"source_id": "P1", "x": x, "y": y, "size": 128},
    }
    return found, {"image_id": f"P1__128__{x}___{y}"}


def evaluator():
    return MergedTilesEvaluator(
        TaskEvaluator("rotated_detection", ["ship", "car"]), references(), 0.1
    )


def overlapping_tiles():
    """The first box is seen by both tiles, the second by the left one."""
    left, right = tile(0, 0, BOXES, [0, 1]), tile(64, 0, BOXES[:1] + 0.2, [0], 0.8)
    return [[left[0], right[0]], [left[1], right[1]]]


def test_doubles_of_overlapping_tiles_count_once():
    scored = evaluator()
    scored.update("dota", *overlapping_tiles())
    metrics = scored.compute()
    assert metrics["ap50"] == pytest.approx(1.0)
    assert metrics["per_class"]["num_detections"].tolist() == [1, 1]
    assert metrics["num_images"] == 1


def test_tiles_of_two_processes_score_as_those_of_one():
    predictions, names = overlapping_tiles()
    alone = evaluator()
    alone.update("dota", predictions, names)
    first, second = evaluator(), evaluator()
    second.update("dota", predictions[:1], names[:1])
    first.update("dota", predictions[1:], names[1:])
    first.merge([first.state(), second.state()])
    assert first.compute()["table"] == alone.compute()["table"]


def test_a_tile_of_an_unknown_image_is_refused():
    predictions, names = overlapping_tiles()
    predictions[0]["tile"]["source_id"] = "P9"
    with pytest.raises(ValueError, match="of image 'P9', which is not among the 1 images"):
        evaluator().update("dota", predictions, names)


def test_an_image_without_a_tile_is_named():
    with pytest.raises(ValueError, match="image 'P1': none of its tiles was measured"):
        evaluator().compute()


def test_predictions_keep_where_their_tile_was_cut():
    place = {"source_id": "P1", "x": 1, "y": 2, "size": 3}
    assert keep_origin([{"scores": 1}], {"labels": [{"tile": place}]}) == [
        {"scores": 1, "tile": place}
    ]


@pytest.fixture
def dota_recipe(tmp_path, shared_dir):
    data = {
        "builder": "dota",
        "config": "v1.0_tiles",
        "evaluate": "validation",
        "root": str(shared_dir / "data/samples/dota"),
        "options": {"tile_size": 512, "overlap": 100, "scales": [1.0]},
    }
    path = write_recipe(tmp_path / "dota.yaml", "rotated_detection", data=data)
    return load_recipe(str(path))


def test_whole_images_have_the_objects_of_their_label_file(dota_recipe, shared_dir):
    (image,) = whole_images(dota_recipe, 15).values()
    lines = (shared_dir / "data/samples/dota/val/labelTxt/P1888.txt").read_text().splitlines()
    assert image["image_id"] == "P1888"
    assert len(image["rotated_boxes"]) == sum(len(line.split()) >= 9 for line in lines)
    assert image["rotated_boxes"].shape[1] == 5


def test_images_of_one_name_cannot_be_merged(dota_recipe):
    data = dataclasses.replace(dota_recipe.data, evaluate="validation+validation")
    with pytest.raises(
        ValueError, match=r"2 images of split 'validation\+validation' have 1 names"
    ):
        whole_images(dataclasses.replace(dota_recipe, data=data), 15)


def test_degenerate_objects_of_whole_images_are_dropped_where_the_recipe_says_so(
    dota_recipe, tmp_path, shared_dir
):
    root = tmp_path / "dota"
    shutil.copytree(shared_dir / "data/samples/dota/val", root / "val")
    with (root / "val/labelTxt/P1888.txt").open("a") as file:
        file.write("5 5 5 5 9 9 7 9 ship 0\n")
    counts = []
    for drop in (False, True):
        evaluation = dataclasses.replace(
            dota_recipe.evaluation, transforms={"drop_degenerate": drop}
        )
        data = dataclasses.replace(dota_recipe.data, root=str(root))
        recipe = dataclasses.replace(dota_recipe, data=data, evaluation=evaluation)
        counts.append(len(whole_images(recipe, 15)["P1888"]["rotated_boxes"]))
    assert counts[0] - counts[1] == 1


def test_tiles_without_an_object_are_measured_too(dota_recipe):
    assert with_all_tiles(dota_recipe).data.options["keep_empty"] is True


def test_what_is_not_cut_cannot_be_merged(dota_recipe):
    data = dataclasses.replace(dota_recipe.data, config="v1.0")
    with pytest.raises(ValueError, match="expected rotated_detection on a config"):
        with_all_tiles(dataclasses.replace(dota_recipe, data=data))


def test_a_part_of_the_tiles_cannot_be_merged(dota_recipe):
    data = dataclasses.replace(dota_recipe.data, limit_samples=3)
    with pytest.raises(ValueError, match="needs all tiles"):
        with_all_tiles(dataclasses.replace(dota_recipe, data=data))
