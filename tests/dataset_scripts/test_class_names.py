"""Class orders that checkpoints are bound to."""

import pytest

from mtp_hf.dataset_scripts.class_names import (
    DATASET_CLASSES,
    FAST_CLASSES,
    SIOR_CLASSES,
    SOTA_CLASSES,
    normalize_class_name,
)

ALL = {"sota": SOTA_CLASSES, "sior": SIOR_CLASSES, "fast": FAST_CLASSES}


@pytest.mark.parametrize(("name", "count"), [("sota", 18), ("sior", 20), ("fast", 37)])
def test_every_set_has_its_published_number_of_classes(name, count):
    assert len(ALL[name]) == count


@pytest.mark.parametrize(
    ("name", "index", "expected"),
    [
        ("sota", 0, "large-vehicle"),
        ("sota", 4, "plane"),
        ("sota", 5, "ship"),
        ("sota", 9, "small-vehicle"),
        ("sota", 13, "storage-tank"),
        ("sota", 17, "helipad"),
        ("sior", 0, "airplane"),
        ("sior", 6, "expressway-service-area"),
        ("sior", 8, "dam"),
        ("sior", 13, "ship"),
        ("sior", 18, "vehicle"),
        ("fast", 7, "Boeing737"),
        ("fast", 15, "Dry-Cargo-Ship"),
        ("fast", 24, "other-airplane"),
        ("fast", 36, "Warship"),
    ],
)
def test_class_ids_are_those_of_the_published_heads(name, index, expected):
    assert ALL[name][index] == expected


@pytest.mark.parametrize("name", sorted(ALL))
def test_names_stay_distinct_when_case_and_hyphens_are_dropped(name):
    assert len({normalize_class_name(c) for c in ALL[name]}) == len(ALL[name])


@pytest.mark.parametrize(
    ("name", "count", "examples"),
    [
        ("dior", 20, {0: "airplane", 19: "windmill"}),
        ("dior_r", 20, {8: "dam"}),
        ("fair1m_v2", 37, {7: "Boeing737", 11: "Bridge"}),
        ("dota_v1", 15, {0: "plane", 9: "storage-tank", 11: "roundabout", 14: "helicopter"}),
        ("dota_v2", 18, {4: "small-vehicle", 15: "container-crane", 17: "helipad"}),
        ("xview", 60, {0: "Fixed-wing Aircraft", 15: "Truck w/Liquid", 59: "Tower"}),
        ("eurosat", 10, {0: "AnnualCrop", 9: "SeaLake"}),
        ("resisc45", 45, {0: "airplane", 37: "snowberg", 44: "wetland"}),
        ("loveda", 7, {0: "background", 6: "agricultural"}),
        ("spacenet_v1", 2, {1: "building"}),
        ("levir", 2, {1: "changed"}),
    ],
)
def test_finetuning_sets_have_the_published_classes_and_order(name, count, examples):
    classes = DATASET_CLASSES[name]
    assert len(classes) == len(set(classes)) == count
    assert {index: classes[index] for index in examples} == examples


def test_sota_and_dota_order_the_same_classes_differently():
    assert sorted(DATASET_CLASSES["sota"]) == sorted(DATASET_CLASSES["dota_v2"])
    assert DATASET_CLASSES["sota"] != DATASET_CLASSES["dota_v2"]


def test_official_and_published_spellings_normalize_to_the_same_name():
    assert normalize_class_name("Dry Cargo Ship") == normalize_class_name("Dry-Cargo-Ship")
    assert normalize_class_name("Expressway-Service-area") == "expresswayservicearea"
