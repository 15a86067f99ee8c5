"""Claims about images to predict and their windows."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mtp_hf.training.prediction_sources import (
    Source,
    WindowRule,
    check_stems,
    folder_sources,
    opened,
    recipe_windows,
    split_sources,
)
from mtp_hf.training.recipe import load_recipe
from tests.training.tiny_finetune import write_recipe


@pytest.fixture
def image(tmp_path):
    """A picture whose pixels tell where they are."""
    rows, columns = np.mgrid[:90, :120]
    pixels = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    path = tmp_path / "P1.png"
    Image.fromarray(pixels).save(path)
    return path


def test_windows_hold_the_pixels_of_their_place(image):
    source = Source("P1", {"image": str(image)})
    with opened(source, WindowRule(64, 16), "dota") as (size, samples):
        parts = list(samples)
    assert size == (90, 120)
    assert [(window.x, window.y) for window, _ in parts] == [
        (0, 0),
        (48, 0),
        (56, 0),
        (0, 26),
        (48, 26),
        (56, 26),
    ]
    for window, sample in parts:
        assert sample["image"].shape == (3, 64, 64)
        assert sample["orig_size"] == (64, 64)
        assert sample["image"][:2, 0, 0].tolist() == [window.y, window.x]


def test_what_a_window_has_beyond_the_image_is_filled(image):
    with opened(Source("P1", {"image": str(image)}), WindowRule(128, 16), "dota") as (_, samples):
        ((window, sample),) = samples
    assert (window.width, window.height) == (128, 128)
    assert sample["image"][:, 127, 127].tolist() == [124, 116, 104]


def test_without_a_rule_an_image_is_whole(image):
    with opened(Source("P1", {"image": str(image)}), None, "dior") as (_, samples):
        ((_, sample),) = samples
    assert sample["image"].shape == (3, 90, 120)


def test_pictures_of_rows_may_be_bytes(image):
    source = Source("P1", {"image": {"bytes": image.read_bytes(), "path": "other.png"}})
    with opened(source, WindowRule(64, 16), "dota") as (size, samples):
        _, (window, sample), *_ = samples
    assert size == (90, 120)
    assert sample["image"][:2, 0, 0].tolist() == [window.y, window.x] == [0, 48]
    assert source.file_name == "other.png"


def test_dates_of_two_sizes_are_refused(image, tmp_path):
    Image.new("RGB", (10, 10)).save(tmp_path / "small.png")
    source = Source("P1", {"image": str(image), "image_post": str(tmp_path / "small.png")})
    refused = pytest.raises(ValueError, match="image 'P1': the two dates have the sizes")
    with refused, opened(source, None, "levir_cd"):
        pass


def test_a_folder_gives_its_images_in_order(image):
    Image.new("RGB", (10, 10)).save(image.with_name("P0.jpg"))
    found = folder_sources(image.parent, pairs=False)
    assert [(each.image_id, each.file_name) for each in found] == [
        ("P0", "P0.jpg"),
        ("P1", "P1.png"),
    ]


def test_images_in_folders_below_are_found_too_and_results_are_not(image):
    below = image.parent / "sub"
    (below / "out").mkdir(parents=True)
    for path in (below / "P1.webp", below / "out" / "P1.png"):
        Image.new("RGB", (10, 10)).save(path)
    found = folder_sources(image.parent, pairs=False, leave_out=below / "out")
    assert [(each.image_id, each.file_name) for each in found] == [
        ("P1", "P1.png"),
        ("sub/P1", "P1.webp"),
    ]


def test_pairs_are_found_below_their_folders(image):
    for name in ("A", "B"):
        (image.parent / name / "sub").mkdir(parents=True)
        Image.new("RGB", (10, 10)).save(image.parent / name / "sub" / "x.png")
    (found,) = folder_sources(image.parent, pairs=True)
    assert found.image_id == "sub/x"


def test_two_images_with_one_name_of_their_results_are_refused():
    sources = [Source(name, {"image": f"{name}.png"}) for name in ("a/b", "a_b")]
    with pytest.raises(ValueError, match="'a/b' and 'a_b' would both be written as a_b.png"):
        check_stems(sources)


def test_rows_of_sixteen_bits_are_refused_and_not_cut_at_255(tmp_path):
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(tmp_path / "a.png")
    source = Source("a", {"image": {"bytes": (tmp_path / "a.png").read_bytes(), "path": "b.png"}})
    refused = pytest.raises(ValueError, match="image 'a' cannot be read: image mode 'I;16'")
    with refused, opened(source, None, "dior"):
        pass


def test_an_empty_folder_and_one_without_dates_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has no image"):
        folder_sources(tmp_path, pairs=False)
    with pytest.raises(ValueError, match="no folder A; expected A and B"):
        folder_sources(tmp_path, pairs=True)


@pytest.fixture
def dota_recipe(tmp_path, shared_dir):
    data = {
        "builder": "dota",
        "config": "v1.0_tiles",
        "root": str(shared_dir / "data/samples/dota"),
        "options": {"overlap": 100, "tile_size": 512, "scales": [0.5, 1.0]},
    }
    data["evaluate"] = "validation"
    return load_recipe(str(write_recipe(tmp_path / "a.yaml", "rotated_detection", data=data)))


def test_a_split_of_tiles_gives_whole_images_and_the_rule_of_their_tiles(dota_recipe):
    (source,) = split_sources(dota_recipe)
    assert (source.image_id, source.file_name) == ("P1888", "P1888.png")
    assert recipe_windows(dota_recipe) == WindowRule(512, 100, (0.5, 1.0))


def test_the_share_of_image_that_a_tile_needs_is_that_of_training(dota_recipe):
    options = {**dota_recipe.data.options, "min_image": 0.2}
    data = dataclasses.replace(dota_recipe.data, options=options)
    rule = recipe_windows(dataclasses.replace(dota_recipe, data=data))
    assert len(rule.windows(600, 700)) > len(recipe_windows(dota_recipe).windows(600, 700))


def test_whole_images_have_no_rule(tmp_path):
    recipe = load_recipe(str(write_recipe(tmp_path / "a.yaml", "rotated_detection")))
    assert recipe_windows(recipe) is None
