"""Claims about test-time augmentation: the geometry is exact, and views are brought together."""

import dataclasses
import types

import pytest
import torch

from mtp_hf.training.augmented_prediction import make_view, predict_augmented
from mtp_hf.training.recipe import load_recipe
from tests.training.tiny_finetune import write_recipe

DIRECTIONS = ("horizontal", "vertical", "diagonal")
SIZE, CANVAS = (40, 56), 64


def recipe_with(tmp_path, task, scales=(1.0,), flips=()):
    recipe = load_recipe(str(write_recipe(tmp_path / f"{task}.yaml", task)))
    evaluation = dataclasses.replace(recipe.evaluation, scales=scales, flips=flips)
    return dataclasses.replace(recipe, evaluation=evaluation)


def batch(orig_size=SIZE):
    """One picture with a bright rectangle, rows 4 to 12, columns 10 to 30, on a padded canvas."""
    pixels = torch.zeros(1, 3, CANVAS, CANVAS)
    pixels[:, :, 4:12, 10:30] = 1.0
    return {"pixel_values": pixels, "labels": [{"size": SIZE, "orig_size": orig_size}]}


def see_box(network, inputs, recipe):
    """Find the bright rectangle, as a detector that always sees it."""
    network.views.append(inputs)
    (label,) = inputs["labels"]
    rows, columns = (inputs["pixel_values"][0, 0] > 0.5).nonzero().unbind(1)
    factor = label["orig_size"][0] / label["size"][0]
    box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) * factor
    score = 0.5 + 0.01 * len(network.views)
    return [
        {"boxes": box[None].float(), "scores": torch.tensor([score]), "labels": torch.tensor([2])}
    ]


def see_turned_box(network, inputs, recipe):
    (found,) = see_box(network, inputs, recipe)
    x1, y1, x2, y2 = found.pop("boxes").unbind(1)
    turned = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, 0 * x1], dim=1)
    return [{**found, "rotated_boxes": turned}]


class Looking:
    """Stands in for a network: remembers views; as a network of maps its logits are a channel."""

    def __init__(self):
        self.views = []
        self.config = types.SimpleNamespace(nms_iou=0.5, max_detections=10)

    def predict_logits(self, pictures, sizes, targets, **windows):
        self.views.append(windows)
        for picture, size, target in zip(pictures[0], sizes, targets, strict=True):
            content = picture[None, :1, : size[0], : size[1]]
            resized = torch.nn.functional.interpolate(content, target, mode="bilinear")[0]
            yield torch.cat([1 - resized, resized]) * 10


def test_without_wishes_the_batch_is_predicted_as_it_is(tmp_path):
    network, inputs = Looking(), batch()
    predict_augmented(see_box, network, inputs, recipe_with(tmp_path, "horizontal_detection"))
    assert [view is inputs for view in network.views] == [True]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_content_is_mirrored_and_the_padding_stays_right_and_below(direction):
    inputs = batch()
    view = make_view(inputs, 1.0, direction)
    height, width = SIZE
    axes = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-2, -1)}[direction]
    content = inputs["pixel_values"][..., :height, :width].flip(axes)
    assert torch.equal(view["pixel_values"][..., :height, :width], content)
    assert view["pixel_values"].shape == inputs["pixel_values"].shape
    assert view["pixel_values"].sum() == content.sum()


def test_a_scaled_view_says_its_size_and_has_a_canvas_of_whole_steps():
    view = make_view(batch(), 1.5, None)
    assert view["labels"][0]["size"] == (60, 84)
    assert view["labels"][0]["orig_size"] == SIZE
    assert view["pixel_values"].shape[-2:] == (96, 96)


def test_both_dates_of_a_pair_are_mirrored():
    inputs = batch()
    inputs["pixel_values_post"] = inputs["pixel_values"] * 2
    view = make_view(inputs, 1.0, "diagonal")
    assert torch.equal(view["pixel_values_post"], view["pixel_values"] * 2)


@pytest.mark.parametrize(
    ("task", "see"), [("horizontal_detection", see_box), ("rotated_detection", see_turned_box)]
)
def test_boxes_of_all_views_meet_and_the_best_stays(tmp_path, task, see):
    recipe = recipe_with(tmp_path, task, scales=(1.0, 2.0), flips=DIRECTIONS)
    network = Looking()
    (found,) = predict_augmented(see, network, batch((80, 112)), recipe)
    assert len(network.views) == 8
    assert len(found["scores"]) == 1
    assert found["scores"].item() == pytest.approx(0.58)  # of the last view
    assert found["labels"].tolist() == [2]
    box = found["boxes"] if see is see_box else found["rotated_boxes"]
    expected = [20, 8, 60, 24] if see is see_box else [40, 16, 40, 16, 0]
    assert box[0].tolist() == pytest.approx(expected, abs=0.6)  # a pixel of the scaled view


@pytest.mark.parametrize("flips", [(), ("horizontal",), DIRECTIONS])
def test_a_map_of_mirrored_views_is_that_of_the_image(tmp_path, flips):
    recipe = recipe_with(tmp_path, "semantic_segmentation", scales=(1.0, 1.0), flips=flips)
    (found,) = predict_augmented(see_box, Looking(), batch(), recipe)
    expected = batch()["pixel_values"][0, 0, : SIZE[0], : SIZE[1]].long()
    assert torch.equal(found["semantic_map"], expected)


def test_windows_of_the_recipe_hold_in_every_view(tmp_path):
    recipe = recipe_with(tmp_path, "semantic_segmentation", flips=("vertical",))
    evaluation = dataclasses.replace(recipe.evaluation, window=32, stride=16)
    network = Looking()
    predict_augmented(see_box, network, batch(), dataclasses.replace(recipe, evaluation=evaluation))
    assert network.views == [{"window": (32, 32), "stride": (16, 16)}] * 2


def test_scores_of_scenes_are_the_mean_over_views(tmp_path):
    recipe = recipe_with(tmp_path, "scene_classification", flips=("horizontal",))
    answers = iter([[0.2, 0.8], [0.6, 0.4]])

    def predict(network, inputs, recipe):
        return [{"scores": torch.tensor(next(answers))}]

    (found,) = predict_augmented(predict, Looking(), batch(), recipe)
    assert found["scores"].tolist() == pytest.approx([0.4, 0.6])
