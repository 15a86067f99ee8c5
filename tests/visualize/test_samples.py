import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.modeling.ops_rotated_boxes import boxes_to_rotated_boxes
from mtp_hf.visualize import samples
from mtp_hf.visualize.class_colors import default_palette
from mtp_hf.visualize.samples import default_scale, draw_comparison, draw_sample

NAMES = ["plane", "ship", "harbor"]
COLORS = default_palette(3).tolist()


def image_of(height=64, width=80, value=90):
    return torch.full((3, height, width), value, dtype=torch.uint8)


def labels_of(boxes=((10, 10, 40, 30),), labels=(1,), size=(64, 80), padded=(64, 80)):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = torch.zeros(len(boxes), *padded, dtype=torch.bool)
    semantic = torch.zeros(padded, dtype=torch.int64)
    for mask, (left, top, right, bottom), label in zip(masks, boxes.int(), labels, strict=True):
        mask[top:bottom, left:right] = True
        semantic[top:bottom, left:right] = label + 1
    semantic[size[0] :] = semantic[:, size[1] :] = 255
    return {
        "semantic_labels": semantic,
        "boxes": boxes,
        "class_labels": torch.tensor(labels, dtype=torch.int64),
        "instance_masks": masks,
        "rotated_boxes": boxes_to_rotated_boxes(boxes),
        "rotated_class_labels": torch.tensor(labels, dtype=torch.int64),
        "dataset": "sota",
        "image_id": "P0001",
        "size": size,
    }


def prediction_of(labels, score=0.8):
    height, width = labels["size"]
    scores = torch.full((len(labels["boxes"]),), score)
    return {
        "ss": {"semantic_map": labels["semantic_labels"][:height, :width]},
        "is": {
            "scores": scores,
            "labels": labels["class_labels"],
            "boxes": labels["boxes"],
            "masks": labels["instance_masks"][:, :height, :width],
        },
        "rd": {
            "scores": scores,
            "labels": labels["rotated_class_labels"],
            "rotated_boxes": labels["rotated_boxes"],
        },
    }


def has_color(picture, color):
    return bool((np.asarray(picture) == color).all(axis=-1).any())


def test_small_images_are_enlarged_by_whole_numbers():
    assert default_scale((128, 128)) == 3
    assert default_scale((96, 128)) == 3
    assert default_scale((224, 224)) == 2
    assert default_scale((800, 100)) == 1
    assert draw_sample(image_of(), labels_of(), NAMES).size == (80 * 5, 64 * 5)
    assert draw_sample(image_of(), labels_of(), NAMES, scale=2).size == (160, 128)


@pytest.mark.parametrize(("task", "row"), [("is", 119), ("rd", 120)])
def test_edge_of_a_box_has_the_color_of_its_class(task, row):
    # The lower side is at y = 30: for an upright box the last row inside, else the line's middle.
    picture = draw_sample(image_of(), labels_of(), NAMES, tasks=(task,), scale=4)
    assert picture.getpixel((100, row)) == tuple(COLORS[1])


def test_semantic_map_is_tinted_with_the_color_of_its_class_and_nothing_else(monkeypatch):
    monkeypatch.setattr(samples, "ALPHA", 1.0)
    picture = draw_sample(image_of(), labels_of(), NAMES, tasks=("ss",), scale=1)
    assert picture.getpixel((20, 20)) == tuple(COLORS[1])
    assert picture.getpixel((60, 50)) == (90, 90, 90)


def test_a_class_has_one_color_in_all_tasks(monkeypatch):
    monkeypatch.setattr(samples, "ALPHA", 1.0)
    palette = np.array([[1, 2, 3], [250, 10, 130], [4, 5, 6]], dtype=np.uint8)
    for task in ("ss", "is", "rd"):
        picture = draw_sample(image_of(), labels_of(), NAMES, tasks=(task,), palette=palette)
        assert has_color(picture, [250, 10, 130])
        assert not has_color(picture, [4, 5, 6])


def test_predictions_draw_like_the_labels_they_repeat_but_for_scores():
    labels = labels_of()
    for task in ("ss", "is", "rd"):
        truth = np.asarray(draw_sample(image_of(), labels, NAMES, tasks=(task,), scale=4))
        found = draw_sample(image_of(), prediction_of(labels), NAMES, tasks=(task,), scale=4)
        same = (truth == np.asarray(found)).all(axis=-1)
        assert same[40:].all()  # below the name plates


def test_weak_detections_are_not_drawn():
    labels = labels_of()
    weak = draw_sample(image_of(), prediction_of(labels, 0.2)["is"], NAMES, scale=1)
    np.testing.assert_array_equal(np.asarray(weak), 90)
    strong = draw_sample(
        image_of(), prediction_of(labels, 0.2)["is"], NAMES, scale=1, score_threshold=0.1
    )
    assert has_color(strong, COLORS[1])


def test_without_objects_the_image_is_left_as_it_is():
    labels = labels_of(boxes=(), labels=())
    picture = draw_sample(image_of(), labels, NAMES, scale=1)
    np.testing.assert_array_equal(np.asarray(picture), 90)
    picture = draw_sample(image_of(), prediction_of(labels), NAMES, scale=1)
    np.testing.assert_array_equal(np.asarray(picture), 90)


def test_crowded_pictures_have_no_names():
    boxes = [(x, y, x + 5, y + 5) for x in range(0, 80, 16) for y in range(20, 60, 20)]
    labels = labels_of(boxes, [0] * len(boxes))
    named = draw_sample(image_of(), labels, NAMES, tasks=("is",))
    bare = draw_sample(image_of(), labels, NAMES, tasks=("is",), max_names=5)
    assert (np.asarray(named) != np.asarray(bare)).any()
    colors = {tuple(color) for color in np.asarray(bare).reshape(-1, 3).tolist()}
    assert (255, 255, 255) not in colors
    assert (0, 0, 0) not in colors


def test_drawing_does_not_change_the_image():
    image = image_of()
    draw_sample(image, labels_of(), NAMES, scale=1)
    assert (image == 90).all()


def test_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"semantic map of \(96, 96\) on an image of \(64, 80\)"):
        draw_sample(image_of(), labels_of(padded=(96, 96)), NAMES)


def test_sheets_are_written_for_the_tasks_that_occur(tmp_path):
    labels = labels_of(padded=(96, 96))
    prediction = prediction_of(labels)
    del prediction["rd"]
    files = draw_comparison(
        [image_of(96, 96)] * 2, [labels] * 2, [prediction] * 2, {"sota": NAMES}, tmp_path / "new"
    )
    assert [file.name for file in files] == ["predictions_ss.png", "predictions_is.png"]
    assert all(file.is_file() for file in files)


def test_sheet_has_image_labels_and_prediction_side_by_side_and_a_legend(tmp_path):
    labels = labels_of(padded=(96, 96))
    files = draw_comparison(
        [image_of(96, 96)], [labels], [prediction_of(labels)], {"sota": NAMES}, tmp_path
    )
    for file in files:
        sheet = np.asarray(Image.open(file))[56:]  # below title and captions
        assert sheet.shape[1] > 3 * 400  # content of 80 pixels, enlarged 5 times
        first, second, third, legend = (
            sheet[:, 8 + column * 408 : 408 + column * 408] for column in range(4)
        )
        assert (first == 90).all(axis=-1).sum() == 400 * 320
        assert 0 < (second == 90).all(axis=-1).sum() < 400 * 320
        assert 0 < (third == 90).all(axis=-1).sum() < 400 * 320
        assert has_color(legend, COLORS[1])
        assert not has_color(legend, COLORS[0])


def test_sheets_take_images_of_different_sizes_and_data_sets_and_none_at_all(tmp_path):
    small, large = labels_of(), labels_of(size=(96, 70), padded=(96, 96)) | {"dataset": "sior"}
    files = draw_comparison(
        [image_of(), image_of(96, 96)],
        [small, large],
        [prediction_of(small), prediction_of(large)],
        {"sota": NAMES, "sior": ["dam", "golf-course"]},
        tmp_path,
        palettes={"sior": np.array([[9, 9, 9], [200, 100, 50]], dtype=np.uint8)},
    )
    assert has_color(Image.open(files[0]), [200, 100, 50])
    assert draw_comparison([], [], [], {}, tmp_path) == []


def test_sheet_of_an_image_without_objects_is_written(tmp_path):
    labels = labels_of(boxes=(), labels=())
    files = draw_comparison(
        [image_of()], [labels], [prediction_of(labels)], {"sota": NAMES}, tmp_path
    )
    assert len(files) == 3
