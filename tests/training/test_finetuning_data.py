"""Claims about the data of a finetuning run: splits, classes, references, loaders."""

import numpy as np
import pytest
import torch
from PIL import Image

from mtp_hf.dataset_scripts.class_names import EUROSAT_CLASSES, LOVEDA_CLASSES
from mtp_hf.training.finetuning_data import (
    canvas_of,
    check_data_root,
    check_labelled,
    check_scene_classes,
    find_class_names,
    limit_rows,
    make_source,
    open_rows,
    rows_to_train_on,
)
from mtp_hf.training.loaders import evaluation_loader, train_loader
from mtp_hf.training.recipe import load_recipe
from tests.fakes import write_samrs
from tests.training.tiny_finetune import WRITERS, write_recipe


@pytest.fixture(autouse=True)
def _state(accelerator):
    """The logger asks which process this is."""


@pytest.fixture
def recipe_of(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def recipe_of(task, *overrides, root=None):
        if root is None:
            root = tmp_path / task
            WRITERS[task](root)
        path = write_recipe(tmp_path / f"{task}.yaml", task)
        return load_recipe(str(path), overrides=[f"data.root={root}", *overrides])

    return recipe_of


def _source(recipe, part="train", *, augment=True):
    rows = open_rows(recipe, part)
    if augment:
        rows = rows_to_train_on(recipe, rows)
    return make_source(recipe, rows, find_class_names(recipe, rows), augment=augment)


def test_splits_may_be_joined_and_measured_elsewhere(recipe_of):
    recipe = recipe_of("change_detection", "data.train=train+test")
    assert len(open_rows(recipe, "train")) == 5
    assert len(open_rows(recipe, "validation")) == 1


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("scene_classification", EUROSAT_CLASSES),
        ("semantic_segmentation", LOVEDA_CLASSES),
        ("change_detection", ["unchanged", "changed"]),
    ],
)
def test_classes_come_from_the_data_set(recipe_of, task, names):
    recipe = recipe_of(task)
    assert find_class_names(recipe, open_rows(recipe, "train")) == list(names)


def test_classes_of_the_recipe_win(recipe_of):
    recipe = recipe_of("semantic_segmentation", "data.class_names=[a,b,c,d,e,f,g]")
    assert find_class_names(recipe, open_rows(recipe, "train")) == [*"abcdefg"]


@pytest.mark.parametrize(
    ("task", "names", "known"),
    [
        ("scene_classification", "[x,y,z]", "eurosat has 10 classes: AnnualCrop, Forest"),
        ("horizontal_detection", "[x]", "dior has 20 classes: "),
        ("semantic_segmentation", "[x,y]", "loveda has 7 classes: "),
        ("change_detection", "[x]", "levir_cd has 2 classes: unchanged, changed"),
        ("change_detection", "[x,y,z]", "levir_cd has 2 classes: unchanged, changed"),
    ],
)
def test_another_number_of_names_than_the_data_set_has_classes_is_refused(
    recipe_of, task, names, known
):
    recipe = recipe_of(task, f"data.class_names={names}")
    with pytest.raises(ValueError, match=rf"data\.class_names=.* names, but {known}"):
        find_class_names(recipe, open_rows(recipe, "train"))


def test_scenes_of_one_class_are_not_trained_on(recipe_of, tmp_path):
    recipe = recipe_of("scene_classification")
    rows = open_rows(recipe, "train")
    check_scene_classes(recipe, rows)
    two = rows.filter(lambda label: label in (1, 8), input_columns="label")
    check_scene_classes(recipe, two)
    one = rows.filter(lambda label: label == 8, input_columns="label")
    expected = r"all \d+ images of split 'train' are of one class \(River\); is it a slice"
    with pytest.raises(ValueError, match=expected):
        check_scene_classes(recipe, one)


@pytest.mark.parametrize("part", ["train", "evaluate"])
def test_a_split_that_is_not_there_is_named_with_its_key(recipe_of, part):
    recipe = recipe_of("scene_classification", f"data.{part}=nope")
    with pytest.raises(ValueError, match=rf'data\.{part}=nope of eurosat: Unknown split "nope"'):
        open_rows(recipe, "train" if part == "train" else "validation")


def test_images_without_objects_are_not_trained_on_but_measured(recipe_of):
    recipe = recipe_of("horizontal_detection", "data.train=train+validation")
    assert len(open_rows(recipe, "train")) == 2
    assert len(_source(recipe)) == 1
    assert len(_source(recipe, augment=False)) == 2


def test_what_is_compared_stays_in_pixels_of_the_stored_image(recipe_of):
    recipe = recipe_of("rotated_detection")
    loader = evaluation_loader(
        recipe,
        {"dior": _source(recipe, "validation", augment=False)},
        canvas=canvas_of(recipe, "validation"),
        rank=0,
        world_size=1,
    )
    (batch,) = list(loader)
    (label,) = batch["labels"]
    assert label["orig_size"] == (40, 60) and label["size"] == (128, 192)
    assert "rotated_boxes" not in label
    box = label["reference"]["rotated_boxes"][0]
    assert 0 < box[0] < 60 and 0 < box[1] < 40
    assert label["reference"]["image_id"] == label["image_id"]


def _reference(recipe, objects):
    """What a row of oriented objects is compared with."""
    row = {"image_id": "a", "image": Image.new("RGB", (60, 40)), "objects": objects}
    source = _source(recipe, "validation", augment=False)
    sample = source.transforms(source.row_to_sample(row), np.random.default_rng(0))
    return sample["reference"], sample["dropped"]


@pytest.mark.parametrize(("drop", "labels"), [(False, [0, 1]), (True, [1])])
def test_degenerate_objects_are_not_to_be_found_where_the_recipe_says_so(recipe_of, drop, labels):
    recipe = recipe_of("rotated_detection", f"evaluation.transforms.drop_degenerate={drop}")
    polygons = [[5.0, 5, 5, 5, 9, 9, 7, 9], [20, 10, 30, 10, 30, 20, 20, 20]]
    objects = {"polygon": polygons, "category": [0, 1], "difficult": [0, 0]}
    reference, dropped = _reference(recipe, objects)
    assert reference["rotated_class_labels"].tolist() == labels
    assert dropped == ({"degenerate_polygons": 1} if drop else {})


def test_crowds_are_kept_to_measure_with_and_not_trained_on(recipe_of):
    recipe = recipe_of("horizontal_detection")
    boxes = [[5.0, 5, 8, 8], [20, 10, 30, 20]]
    objects = {"bbox": boxes, "category": [0, 1], "iscrowd": [True, False], "area": [9.0, 400.0]}
    reference, _ = _reference(recipe, objects)
    assert reference["iscrowd"].tolist() == [True, False]
    assert reference["area"].tolist() == [9.0, 400.0]
    source = _source(recipe)
    row = {"image_id": "a", "image": Image.new("RGB", (60, 40)), "objects": objects}
    trained = source.transforms(source.row_to_sample(row), np.random.default_rng(0))
    assert trained["class_labels"].tolist() == [1]


def test_images_of_joined_splits_are_all_measured(recipe_of):
    recipe = recipe_of("change_detection", "data.evaluate=test+test")
    source = _source(recipe, "validation", augment=False)
    samples = [
        source.transforms(source.row_to_sample(row), np.random.default_rng(0))
        for row in source.rows
    ]
    assert len({sample["reference"]["image_id"] for sample in samples}) == len(source) == 4


def test_training_batches_follow_from_the_step_alone(recipe_of):
    recipe = recipe_of("scene_classification")
    sources = {"eurosat": _source(recipe)}
    loaders = [
        train_loader(recipe, sources, canvas=112, start_step=start, rank=0, world_size=1)
        for start in (0, 2)
    ]
    batches = [list(loader) for loader in loaders]
    assert len(batches[0]) == 4 and len(batches[1]) == 2
    for old, new in zip(batches[0][2:], batches[1], strict=True):
        assert torch.equal(old["pixel_values"], new["pixel_values"])
        assert torch.equal(old["image_labels"], new["image_labels"])


def test_scenes_keep_their_size_though_it_is_no_multiple_of_32(recipe_of):
    recipe = recipe_of("scene_classification")
    source = {"eurosat": _source(recipe)}
    canvas = canvas_of(recipe, "train")
    loader = train_loader(recipe, source, canvas=canvas, start_step=0, rank=0, world_size=1)
    batch = next(iter(loader))
    assert batch["pixel_values"].shape == (2, 3, 112, 112)


def test_rotated_boxes_of_samrs_are_objects_to_detect(recipe_of, tmp_path):
    write_samrs(tmp_path / "samrs")
    given = ["data.builder=samrs", "data.config=sior", "data.evaluate=validation"]
    recipe = recipe_of("rotated_detection", *given, root=tmp_path / "samrs")
    sample = _source(recipe).transforms(
        _source(recipe).row_to_sample(_source(recipe).rows[0]), np.random.default_rng(0)
    )
    assert len(sample["rotated_boxes"]) == len(sample["rotated_class_labels"]) > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.root=null", "say where with data.root=FOLDER"),
        ("data.root=/nowhere", "data.root=/nowhere is not a folder"),
    ],
)
def test_a_folder_that_is_not_there_is_refused(recipe_of, override, message):
    with pytest.raises(ValueError, match=message):
        check_data_root(recipe_of("scene_classification", override))


def test_the_smallest_limit_holds(recipe_of):
    rows = open_rows(recipe_of("scene_classification"), "train")
    assert len(limit_rows(rows, None, 7, 3)) == 3
    assert limit_rows(rows, None) is rows
    assert limit_rows(rows, 10_000) is rows


def test_a_limit_takes_images_of_all_classes_though_they_are_sorted(recipe_of):
    rows = open_rows(recipe_of("scene_classification"), "train")  # three a class
    assert limit_rows(rows, 10)["label"] == list(range(10))


def test_images_to_train_on_without_labels_are_refused(recipe_of):
    recipe = recipe_of("semantic_segmentation", "data.train=train+test")
    rows = open_rows(recipe, "train")
    expected = rf"split 'train\+test': 3 of {len(rows)} images have no labels \(mask is null\)"
    with pytest.raises(ValueError, match=expected):
        check_labelled(recipe, rows, "train+test")
    check_labelled(recipe, open_rows(recipe, "validation"), "validation")


@pytest.mark.parametrize("task", ["horizontal_detection", "rotated_detection"])
def test_a_split_without_any_object_is_refused(recipe_of, task):
    recipe = recipe_of(task, "data.train=validation")
    rows = open_rows(recipe, "train")
    with pytest.raises(ValueError, match="split 'validation': none of 1 images has an object"):
        check_labelled(recipe, rows, "validation")
    with pytest.raises(ValueError, match="split 'validation': none of 1 rows can be trained on"):
        rows_to_train_on(recipe, rows)


def test_a_data_set_of_another_task_is_refused(recipe_of):
    recipe = recipe_of("scene_classification")
    rows = open_rows(recipe, "train").rename_column("label", "kind")
    with pytest.raises(ValueError, match="task=scene_classification: expected a column 'label'"):
        check_labelled(recipe, rows, "train")
