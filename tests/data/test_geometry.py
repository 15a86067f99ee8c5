import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mtp_hf.data.geometry import (
    count_dropped,
    crop,
    flip,
    pad_to,
    padded_size,
    resize,
    resize_pictures,
    select_instances,
    select_rotated,
)
from mtp_hf.data.masks import decode_map, decode_masks
from mtp_hf.data.transforms import FilterInstances
from mtp_hf.modeling.ops_rotated_boxes import (
    polygons_to_rotated_boxes,
    regularize_rotated_boxes,
    rotated_boxes_to_polygons,
)


def _sample(height=4, width=6):
    """One instance on row 1, columns 2 to 3; one triangle-free polygon around it."""
    masks = torch.zeros(1, height, width, dtype=torch.bool)
    masks[0, 1, 2:4] = True
    return {
        "image": torch.arange(3 * height * width, dtype=torch.uint8).reshape(3, height, width),
        "boxes": torch.tensor([[2.0, 1, 4, 2]]),
        "class_labels": torch.tensor([7]),
        "instance_masks": masks,
        "polygons": torch.tensor([[2.0, 1, 4, 1, 4, 2, 2, 2]]),
        "rotated_class_labels": torch.tensor([5]),
        "semantic_labels": masks[0].to(torch.uint8),
        "image_id": "a",
        "dataset": "d",
        "orig_size": (height, width),
    }


@pytest.mark.parametrize(
    ("direction", "box", "polygon", "first_pixel"),
    [
        ("horizontal", [2, 1, 4, 2], [4, 1, 2, 1, 2, 2, 4, 2], 5),
        ("vertical", [2, 2, 4, 3], [2, 3, 4, 3, 4, 2, 2, 2], 18),
        ("diagonal", [2, 2, 4, 3], [4, 3, 2, 3, 2, 2, 4, 2], 23),
    ],
)
def test_flips_by_hand(direction, box, polygon, first_pixel):
    out = flip(_sample(), direction)
    assert out["boxes"].tolist() == [box]
    assert out["polygons"].tolist() == [polygon]  # corner order is kept
    assert out["image"][0, 0, 0] == first_pixel
    row = box[1]
    assert decode_map(out["semantic_labels"])[row].tolist() == [0, 0, 1, 1, 0, 0]
    assert decode_masks(out["instance_masks"])[0, row].tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_two_equal_flips_do_nothing(direction):
    before, after = _sample(), flip(flip(_sample(), direction), direction)
    for key in ("image", "boxes", "polygons"):
        assert torch.equal(before[key], after[key])
    assert torch.equal(before["semantic_labels"], decode_map(after["semantic_labels"]))


def test_geometry_leaves_its_input_alone():
    sample = _sample()
    before = {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in sample.items()}
    flip(sample, "diagonal")
    resize(sample, 9)
    crop(sample, 1, 1, (2, 2))
    for key, value in before.items():
        same = sample[key] == value
        assert same.all() if isinstance(value, torch.Tensor) else same


def test_resize_by_two_doubles_coordinates():
    out = resize(_sample(), 12)
    assert out["image"].shape == (3, 8, 12)
    assert out["boxes"].tolist() == [[4, 2, 8, 4]]
    assert out["polygons"].tolist() == [[4, 2, 8, 2, 8, 4, 4, 4]]
    assert decode_masks(out["instance_masks"]).sum() == 8


def test_resize_takes_the_source_pixel_floor_of_x_times_scale():
    sample = {"image": torch.zeros(3, 1, 5, dtype=torch.uint8)}
    sample["semantic_labels"] = torch.arange(5, dtype=torch.uint8)[None]
    out = resize(sample, 3)  # x * 5/3: 0, 1.67, 3.33
    assert decode_map(out["semantic_labels"]).tolist() == [[0, 1, 3]]


def test_resize_keeps_the_aspect_ratio_and_rounds_half_up():
    sample = {"image": torch.zeros(3, 50, 100, dtype=torch.uint8)}
    assert resize(sample, 33)["image"].shape == (3, 17, 33)
    assert resize({"image": torch.zeros(3, 1, 100, dtype=torch.uint8)}, 20)["image"].shape[1] == 1


@pytest.mark.parametrize("long_side", [6, 12])
def test_resize_clips_boxes_but_not_polygons(long_side):
    sample = _sample()
    sample["boxes"] = torch.tensor([[-1.0, 1, 4, 9]])
    sample["polygons"] -= 3
    out = resize(sample, long_side)
    scale = long_side / 6
    assert out["boxes"].tolist() == [[0, scale, 4 * scale, 4 * scale]]
    assert out["polygons"].min() == -2 * scale


def test_crop_by_hand():
    out = crop(_sample(), 1, 3, (2, 2))
    assert out["image"][0].tolist() == [[9, 10], [15, 16]]
    assert out["boxes"].tolist() == [[0, 0, 1, 1]]  # what is left of the mask
    assert decode_map(out["semantic_labels"]).tolist() == [[1, 0], [0, 0]]
    assert out["polygons"].tolist() == [[-1, 0, 1, 0, 1, 1, -1, 1]]  # centre (0, 0.5): stays whole


def test_rotated_object_goes_when_its_centre_is_outside():
    out = crop(_sample(), 1, 4, (2, 2))
    assert out["polygons"].shape == (0, 8)
    assert out["rotated_class_labels"].shape == (0,)
    assert out["boxes"].shape == (0, 4)
    assert out["instance_masks"].shape == (0, 2, 2)


def test_the_centre_is_that_of_the_minimum_area_rectangle():
    sample = {"image": torch.zeros(3, 20, 20, dtype=torch.uint8)}
    # Three corners near x = 10: their mean is 7.5 but the rectangle's centre is at x = 5.
    sample["polygons"] = torch.tensor([[0.0, 5, 10, 4, 10, 5, 10, 6]])
    sample["rotated_class_labels"] = torch.tensor([0])
    assert len(crop(sample, 0, 6, (20, 14))["polygons"]) == 0
    assert len(crop(sample, 0, 4, (20, 14))["polygons"]) == 1


def test_crop_without_masks_clips_the_boxes():
    sample = _sample()
    del sample["instance_masks"]
    assert crop(sample, 1, 3, (2, 2))["boxes"].tolist() == [[0, 0, 1, 1]]


def test_mask_invisible_behind_a_visible_box_gets_a_zero_box():
    sample = _sample()
    sample["instance_masks"][:] = False
    sample["instance_masks"][0, 0, 0] = sample["instance_masks"][0, 3, 5] = True
    sample["boxes"] = torch.tensor([[0.0, 0, 6, 4]])
    assert crop(sample, 1, 1, (2, 2))["boxes"].tolist() == [[0, 0, 0, 0]]


def test_canvas_is_the_given_square_or_the_next_multiple():
    assert padded_size([(30, 40), (33, 5)], None, 32) == (64, 64)
    assert padded_size([(32, 40)], None, 32) == (32, 64)
    assert padded_size([(30, 40)], 48, 32) == (48, 48)
    with pytest.raises(ValueError, match="30x49"):
        padded_size([(30, 49)], 48, 32)


def _pair():
    """A pair with a change map; the later picture is the earlier plus one hundred."""
    image = torch.arange(72, dtype=torch.uint8).reshape(3, 4, 6)
    return {
        "image": image,
        "image_post": image + 100,
        "change_labels": (torch.arange(24).reshape(4, 6) % 2).to(torch.uint8),
    }


@pytest.mark.parametrize(
    "move",
    [
        lambda s: flip(s, "horizontal"),
        lambda s: flip(s, "diagonal"),
        lambda s: crop(s, 1, 2, (3, 3)),
        lambda s: resize(s, 12),
        lambda s: resize(crop(flip(s, "vertical"), 0, 1, (4, 4)), 3),
    ],
)
def test_both_pictures_of_a_pair_move_alike(move):
    out = move(_pair())
    # Interpolation rounds each picture: one level.
    assert ((out["image_post"].int() - out["image"].int()) - 100).abs().max() <= 1
    assert decode_map(out["change_labels"]).shape == out["image"].shape[1:]


def test_a_change_map_moves_with_its_pictures():
    out = crop(flip(_pair(), "horizontal"), 1, 2, (3, 3))
    assert torch.equal(decode_map(out["change_labels"]), out["image"][0] % 2)


def test_resizing_only_the_pictures_leaves_annotations():
    sample = {**_sample(), **_pair()}
    out = resize_pictures(sample, (8, 5))
    assert out["image"].shape == out["image_post"].shape == (3, 8, 5)
    for key in ("boxes", "polygons", "semantic_labels", "change_labels"):
        assert out[key] is sample[key]


@pytest.mark.parametrize("side", [4, 9])
@pytest.mark.parametrize(
    "move",
    [
        lambda sample: flip(sample, "horizontal"),
        lambda sample: resize(sample, 12),
        lambda sample: crop(sample, 0, 0, (2, 2)),
    ],
)
def test_a_map_of_another_size_than_the_picture_is_not_moved(move, side):
    image, labels = torch.zeros(3, 6, 6, dtype=torch.uint8), torch.zeros(side, side)
    with pytest.raises(ValueError, match=rf"semantic_labels is \({side}, {side}\), the image"):
        move({"image": image, "semantic_labels": labels})


def test_crowds_and_areas_go_with_their_objects():
    sample = {
        "boxes": torch.tensor([[0.0, 0, 2, 2], [1, 1, 5, 5]]),
        "class_labels": torch.tensor([4, 5]),
        "iscrowd": torch.tensor([False, True]),
        "area": torch.tensor([4.0, 9.0]),
    }
    kept = select_instances(sample, torch.tensor([False, True]))
    assert (kept["iscrowd"].tolist(), kept["area"].tolist()) == ([True], [9.0])


def test_difficult_flags_go_with_their_objects():
    sample = {
        "image": torch.zeros(3, 20, 20, dtype=torch.uint8),
        "polygons": torch.tensor([[1.0, 1, 3, 1, 3, 3, 1, 3], [11, 1, 13, 1, 13, 3, 11, 3]]),
        "rotated_class_labels": torch.tensor([4, 5]),
        "rotated_difficult": torch.tensor([0, 2]),
    }
    out = crop(sample, 0, 8, (20, 12))
    assert out["rotated_class_labels"].tolist() == [5]
    assert out["rotated_difficult"].tolist() == [2]


def test_padding_is_right_and_bottom():
    assert pad_to(torch.ones(1, 1, 2), (2, 3), 9).tolist() == [[[1, 1, 9], [9, 9, 9]]]


def test_selection_cuts_all_parallel_lists():
    sample = _sample()
    keep = torch.tensor([False])
    assert [len(select_instances(sample, keep)[k]) for k in ("boxes", "class_labels")] == [0, 0]
    assert select_instances(sample, keep)["instance_masks"].shape == (0, 4, 6)
    assert len(select_rotated(sample, keep)["rotated_class_labels"]) == 0
    assert len(select_rotated(sample, keep)["boxes"]) == 1  # the other list is independent


def test_counts_add_up_and_zero_is_named():
    sample = count_dropped(count_dropped({}, "a", 2), "a", 1)
    assert count_dropped(sample, "b", 0)["dropped"] == {"a": 3, "b": 0}


# Parity with the recordings. Images are BGR there, polygons come from the recorded rectangles.


@pytest.fixture(scope="module")
def recorded(fixtures_dir):
    return load_file(fixtures_dir / "pipeline_geometry.safetensors")


def _masks(recorded, name):
    height, width = recorded[f"{name}/mask_hw"].tolist()
    bits = np.unpackbits(recorded[f"{name}/masks_packed"].numpy(), axis=1)[:, : height * width]
    return torch.from_numpy(bits.reshape(-1, height, width).astype(bool))


def _source(recorded):
    return {
        "image": recorded["source/img"].permute(2, 0, 1).flip(0),
        "boxes": recorded["source/hboxes"],
        "class_labels": recorded["source/labels"].long(),
        "instance_masks": _masks(recorded, "source"),
        "polygons": rotated_boxes_to_polygons(recorded["source/rboxes"]),
        "rotated_class_labels": recorded["source/rlabels"].long(),
        "semantic_labels": recorded["source/seg"],
        "image_id": "recorded",
        "dataset": "d",
        "orig_size": (72, 96),
    }


def _assert_annotations_equal(sample, recorded, name):
    assert torch.equal(sample["boxes"], recorded[f"{name}/hboxes"])
    assert torch.equal(sample["class_labels"], recorded[f"{name}/labels"].long())
    assert torch.equal(decode_masks(sample["instance_masks"]), _masks(recorded, name))
    assert torch.equal(decode_map(sample["semantic_labels"]), recorded[f"{name}/seg"])
    assert torch.equal(sample["rotated_class_labels"], recorded[f"{name}/rlabels"].long())
    expected = regularize_rotated_boxes(recorded[f"{name}/rboxes"])
    # Through corners and back in float32, pixels up to 100.
    torch.testing.assert_close(
        polygons_to_rotated_boxes(sample["polygons"]), expected, atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_parity_of_flips(recorded, direction):
    sample = flip(_source(recorded), direction)
    _assert_annotations_equal(sample, recorded, f"flip/{direction}")


@pytest.mark.parametrize(("name", "long_side"), [("48x48", 48), ("120x110", 120)])
def test_parity_of_resize(recorded, name, long_side):
    sample = resize(_source(recorded), long_side)
    _assert_annotations_equal(sample, recorded, f"resize/{name}")
    blue = recorded[f"resize/{name}/img"][..., 0].float()
    difference = (sample["image"][2].float() - blue).abs()
    # The recording is float; ours rounds to 8 bits, half up, after each of the two axes: half a
    # level each. At factor 1/2 all sums end in .0 or .5, so the mean is just as large as a half.
    # The recording's half precision adds 1/16.
    assert difference.max() <= 1.0 + 0.0625
    assert difference.mean() <= 0.5 + 0.0625


@pytest.mark.parametrize("corner", [(0, 0), (10, 30), (24, 48)])
def test_parity_of_crop_and_filter(recorded, corner):
    name = f"crop48/{corner[0]}_{corner[1]}"
    sample = crop(_source(recorded), *corner, (48, 48))
    assert torch.equal(sample["image"], recorded[f"{name}/img"].permute(2, 0, 1).flip(0))
    _assert_annotations_equal(sample, recorded, name)
    filtered = FilterInstances()(sample, np.random.default_rng(0))
    _assert_annotations_equal(filtered, recorded, f"{name}/filtered")
