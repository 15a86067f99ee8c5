"""Claims about reading a head's widths and classes from its shapes."""

import pytest

from mtp_hf.conversion.heads import (
    classes_of,
    count_classes,
    label_fields,
    pretraining_fields,
    retinanet_fields,
    siamese_unet_fields,
    two_stage_fields,
    upernet_fields,
)
from tests.conversion.tiny_originals import tiny_original


def _shapes(name):
    return {key: tuple(tensor.shape) for key, tensor in tiny_original(name).items()}


@pytest.mark.parametrize(
    ("name", "read", "expected"),
    [
        (
            "faster_rcnn",
            two_stage_fields,
            {"hidden_size": 16, "box_hidden_size": 32, "roi_size": 7},
        ),
        (
            "mask_rcnn",
            two_stage_fields,
            {"mask_hidden_size": 8, "mask_num_convs": 2, "roi_size": 7},
        ),
        ("retinanet", retinanet_fields, {"hidden_size": 8, "num_convs": 2}),
        ("upernet", upernet_fields, {"hidden_size": 16}),
        ("siamese_unet", siamese_unet_fields, {"hidden_sizes": [32, 16, 8, 8]}),
    ],
)
def test_widths_are_read_from_the_shapes(name, read, expected):
    fields = read(_shapes(name))
    assert {key: fields[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "count"),
    [("faster_rcnn", 3), ("oriented_rcnn", 3), ("retinanet", 3), ("upernet", 3),
     ("siamese_unet", 2), ("classifier", 3)],
)  # fmt: skip
def test_classes_are_counted_without_the_background_of_region_heads(name, count):
    assert count_classes(_shapes(name))[0] == count


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("upernet", "decode_head.conv_seg.weight"),
        ("classifier", "head.fc.weight"),
        ("retinanet", "bbox_head.retina_reg.weight"),
    ],
)
@pytest.mark.parametrize("shape", [(), (0, 0), (0, 0, 0, 0)])
def test_classifier_without_numbers_is_refused_by_name(name, key, shape):
    with pytest.raises(ValueError, match=f"{key} has shape"):
        count_classes(_shapes(name) | {key: shape})


def test_head_without_classifier_is_refused():
    with pytest.raises(ValueError, match="no classifier"):
        count_classes({"neck.x": (1,)})


def test_labels_need_as_many_names_as_classes():
    fields = label_fields(2, "key", ["a", "b"], "set")
    assert fields == {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}
    assert label_fields(2, "key", None, "") == {"num_labels": 2}
    with pytest.raises(ValueError, match="key is a head for 3 classes, but set has 2: a, b"):
        label_fields(3, "key", ["a", "b"], "set")


def test_data_sets_are_found_in_several_spellings():
    assert classes_of("DIOR-R") == classes_of("dior_r")
    with pytest.raises(ValueError, match="no data set 'mars'; known: cdd, "):
        classes_of("mars")


def _pretraining(counts, tasks=("ss", "is", "rd")):
    patterns = {
        "ss": "semseghead_{}.1.weight",
        "is": "inssegroiboxhead_fc_cls{}.weight",
        "rd": "rotdetroiboxhead_fc_cls{}.weight",
    }
    kernel = {"ss": (1, 1), "is": (), "rd": ()}
    return {
        patterns[task].format(i): (count + 1, 8, *kernel[task])
        for i, count in counts.items()
        for task in tasks
    }


def test_published_sets_are_told_by_their_classes():
    fields, assumed = pretraining_fields(_pretraining({1: 18, 2: 20, 3: 37}), None)
    assert fields["datasets"] == ["sota_rbb", "sior", "fast"]
    assert fields["class_names"]["fast"][0] == "A220"
    assert "datasets" in assumed


def test_named_sets_are_not_assumed():
    shapes = _pretraining({1: 18, 2: 20})
    fields, assumed = pretraining_fields(shapes, "sota, SIOR")
    assert (fields["datasets"], assumed) == (["sota", "sior"], {})


def test_sets_with_equal_numbers_of_classes_stay_apart():
    fields, _ = pretraining_fields(_pretraining({1: 20, 2: 20}), None)
    assert fields["datasets"] == ["dataset1", "dataset2"]


def test_tasks_are_those_whose_decoders_are_there():
    shapes = _shapes("mtp_pretraining")
    fields, _ = pretraining_fields(shapes, None)
    assert fields["dataset_tasks"]["dataset1"] == ["ss", "is", "rd"]
    without = {k: s for k, s in shapes.items() if not k.startswith(("rotdet", "inss"))}
    fields, _ = pretraining_fields(without, None)
    assert fields["dataset_tasks"] == {"dataset1": ["ss"], "dataset2": ["ss"]}
    assert "rotated_config" not in fields


def test_gap_in_the_numbers_of_the_sets_is_refused():
    with pytest.raises(ValueError, match=r"\[1, 3\], expected 1, 2"):
        pretraining_fields(_pretraining({1: 18, 3: 37}), None)
