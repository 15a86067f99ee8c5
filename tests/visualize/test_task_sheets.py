"""Claims about sheets of what finetuned networks found."""

import numpy as np
import pytest
import torch

from mtp_hf.visualize import task_sheets
from mtp_hf.visualize.sheets import MARGIN_PX, TITLE_PX
from mtp_hf.visualize.task_sheets import CHANGE_OUTCOMES, SIDE_PX, WRONG, draw_predictions

TOP = MARGIN_PX + 2 * TITLE_PX


def _image(height=32, width=64):
    return torch.full((3, height, width), 90, dtype=torch.uint8)


def _label(reference, size=(32, 48), stored=(64, 96)):
    return {"image_id": "scene", "size": size, "orig_size": stored, "reference": reference}


def _column(sheet, number):
    """Pixels (H, W, 3) of a picture in the first row of a sheet."""
    left = MARGIN_PX + number * (SIDE_PX + MARGIN_PX)
    height = round(SIDE_PX * 64 / 96)
    return np.asarray(sheet)[TOP : TOP + height, left : left + SIDE_PX]


def _share(pixels, color):
    return (pixels == np.array(color)).all(axis=-1).mean()


@pytest.fixture
def captions(monkeypatch):
    """Captions of the rows, as they are laid out."""
    seen = []
    lay_out_row = task_sheets.lay_out_row

    def remember(title, panels, *args, **kwargs):
        seen.extend([title, *(caption for caption, _ in panels)])
        return lay_out_row(title, panels, *args, **kwargs)

    monkeypatch.setattr(task_sheets, "lay_out_row", remember)
    return seen


def test_scenes_have_label_prediction_and_score(captions):
    labels = [_label({"label": torch.tensor(n)}) for n in (0, 1)]
    predictions = [{"scores": torch.tensor([0.75, 0.25])}] * 2
    images = [(_image(),)] * 2
    sheet = draw_predictions(
        "scene_classification", images, labels, predictions, ["River", "Forest"]
    )
    words = [caption for caption in captions if caption]
    assert words == ["label: River", "River 0.75", "label: Forest", "River 0.75"]
    pixels = np.asarray(sheet).reshape(-1, 3)
    for color in (task_sheets.RIGHT, WRONG):
        assert (pixels == color).all(axis=1).any()


def test_boxes_are_drawn_where_they_lie_in_the_image_as_stored(captions):
    reference = {"boxes": torch.tensor([[48.0, 0.0, 96.0, 64.0]]), "class_labels": [0]}
    found = {
        "boxes": torch.tensor([[0.0, 0.0, 48.0, 64.0], [0.0, 0.0, 9.0, 9.0]]),
        "labels": torch.tensor([1, 1]),
        "scores": torch.tensor([0.9, 0.1]),
    }
    sheet = draw_predictions(
        "horizontal_detection", [(_image(),)], [_label(reference)], [found], ["ship", "dam"]
    )
    assert captions[1:] == ["image", "labels: 1 object", "prediction: 1 object from 0.3 up"]
    plain, truth, predicted = (_column(sheet, number) for number in range(3))
    middle = SIDE_PX // 2
    assert (truth[:, : middle - 2] == plain[:, : middle - 2]).all()  # half of the width is free
    assert (truth[:, middle:] != plain[:, middle:]).any()
    assert (predicted[:, middle + 2 :] == plain[:, middle + 2 :]).all()
    assert (predicted[:, :middle] != plain[:, :middle]).any()


def test_rotated_boxes_are_drawn_from_polygons_that_became_boxes(captions):
    box = torch.tensor([[48.0, 32.0, 40.0, 20.0, 0.5]])
    reference = {"rotated_boxes": box, "rotated_class_labels": torch.tensor([0])}
    found = {"rotated_boxes": box, "labels": torch.tensor([0]), "scores": torch.tensor([0.5])}
    sheet = draw_predictions(
        "rotated_detection", [(_image(),)], [_label(reference)], [found], ["ship"]
    )
    plain, truth, predicted = (_column(sheet, number) for number in range(3))
    assert 0.005 < (truth != plain).any(axis=-1).mean() < 0.1
    same = (truth == predicted).all(axis=-1)
    assert same.mean() > 0.95  # all but the score beside the name
    assert captions[-1] == "prediction: 1 object from 0.3 up"


def test_an_image_without_objects_is_drawn():
    none = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.int64)}
    found = {"boxes": torch.zeros(0, 4), "labels": none["class_labels"], "scores": torch.zeros(0)}
    sheet = draw_predictions(
        "horizontal_detection", [(_image(),)], [_label(none)], [found], ["ship"]
    )
    assert (_column(sheet, 0) == _column(sheet, 2)).all()


def test_errors_of_maps_are_marked_but_not_where_nothing_is_labelled(captions):
    truth = torch.zeros(64, 96, dtype=torch.int64)
    truth[:, 48:] = 1
    truth[32:] = 255
    found = torch.zeros(64, 96, dtype=torch.int64)
    sheet = draw_predictions(
        "semantic_segmentation",
        [(_image(),)],
        [_label({"semantic_labels": truth})],
        [{"semantic_map": found}],
        ["background", "road"],
    )
    assert captions[-1] == "errors: 50.0 % of the labelled pixels"
    plain, labels, predicted, errors = (_column(sheet, number) for number in range(4))
    assert (predicted == plain).all()  # background stays clear
    middle, half = SIDE_PX // 2, len(plain) // 2
    assert (labels[: half - 1, middle + 1 :] != plain[: half - 1, middle + 1 :]).any(axis=-1).all()
    marked = (errors != plain).any(axis=-1)
    assert marked[: half - 1, middle + 1 :].all()
    assert not marked[half + 1 :].any()


def test_a_first_class_that_is_no_background_is_coloured():
    values = torch.zeros(64, 96, dtype=torch.int64)
    sheet = draw_predictions(
        "semantic_segmentation",
        [(_image(),)],
        [_label({"semantic_labels": values})],
        [{"semantic_map": values}],
        ["forest", "road"],
    )
    plain, labels = _column(sheet, 0), _column(sheet, 1)
    assert (plain != labels).any(axis=-1).all()


def test_changes_found_missed_and_made_up_have_their_colours(captions):
    truth, found = (torch.zeros(64, 96, dtype=torch.int64) for _ in range(2))
    truth[:, :48] = 1
    truth[:16] = 255
    found[:, 24:72] = 1
    sheet = draw_predictions(
        "change_detection",
        [(_image(), 2 * _image())],
        [_label({"change_labels": truth})],
        [{"change_map": found}],
        ["unchanged", "changed"],
    )
    assert captions[1:] == ["before", "after", "labels", "prediction", "errors"]
    before, after, _, _, errors = (_column(sheet, number) for number in range(5))
    assert (before == 90).all()
    assert (after == 180).all()
    expected = dict(zip(CHANGE_OUTCOMES, (0.1875, 0.1875, 0.1875, 0.25), strict=True))
    for outcome, share in expected.items():
        assert _share(errors, CHANGE_OUTCOMES[outcome]) == pytest.approx(share, abs=0.01), outcome
