"""Orders and spellings of classes, and permutations between them."""

import pytest

from mtp_hf.dataset_scripts._xview_labels import TYPE_IDS
from mtp_hf.dataset_scripts.class_names import DATASET_CLASSES, SOTA_CLASSES
from mtp_hf.dataset_scripts.class_orders import (
    CLASS_ORDERS,
    class_name_map,
    class_permutation,
)

PAIRS = [
    (dataset, source, target)
    for dataset, orders in CLASS_ORDERS.items()
    for source in orders
    for target in orders
]


@pytest.mark.parametrize(("dataset", "source", "target"), PAIRS)
def test_a_permutation_has_every_number_once_and_leads_back(dataset, source, target):
    there = class_permutation(dataset, source, target)
    back = class_permutation(dataset, target, source)
    assert sorted(there) == list(range(len(there)))
    assert [back[number] for number in there] == list(range(len(there)))


@pytest.mark.parametrize("dataset", sorted(set(CLASS_ORDERS) & set(DATASET_CLASSES)))
def test_the_canonical_order_is_the_one_of_this_project(dataset):
    assert CLASS_ORDERS[dataset]["canonical"] == DATASET_CLASSES[dataset]


def test_sota_and_dota_order_the_same_classes_differently():
    numbers = class_permutation("dota_v2", "bbt", "canonical")
    assert CLASS_ORDERS["dota_v2"]["bbt"] == SOTA_CLASSES
    assert numbers != list(range(18))
    assert numbers[SOTA_CLASSES.index("ship")] == 6
    assert numbers[SOTA_CLASSES.index("plane")] == 0
    assert numbers[15:] == [15, 16, 17]  # the classes that later releases add


@pytest.mark.parametrize(("release", "count"), [("dota_v1", 15), ("dota_v1_5", 16)])
def test_earlier_releases_have_the_same_order_of_fewer_classes(release, count):
    for order, names in CLASS_ORDERS[release].items():
        assert names == CLASS_ORDERS["dota_v2"][order][:count]


def test_dam_is_the_class_that_moves_in_dior():
    numbers = class_permutation("dior", "torchgeo", "canonical")
    assert numbers[6:9] == [8, 6, 7]
    assert numbers[:6] + numbers[9:] == [*range(6), *range(9, 20)]


def test_fair1m_of_the_paper_begins_with_ships():
    numbers = class_permutation("fair1m_v2", "paper", "canonical")
    assert (numbers[0], numbers[8], numbers[36]) == (27, 36, 11)


def test_fair1m_names_get_the_blanks_of_the_label_files_but_in_other():
    names = class_name_map("fair1m_v2", "canonical", "paper")
    assert names["Dry-Cargo-Ship"] == "Dry Cargo Ship"
    assert names["Small-Car"] == "Small Car"
    assert names["other-airplane"] == "other-airplane"
    assert sum("-" in name for name in names.values()) == 3


def test_xview_has_one_order_and_two_spellings():
    assert class_permutation("xview", "canonical", "official") == list(range(60))
    names = class_name_map("xview", "canonical", "official")
    assert names["Truck w/Box"] == "Truck Tractor w/ Box Trailer"
    assert names["Trailer"] == "Trailer"
    assert sum(ours != official for ours, official in names.items()) == 5


def test_xview_official_names_are_those_of_the_published_list(shared_dir):
    text = (shared_dir / "data/samples/xview/xview_class_labels.txt").read_text()
    lines = [line.split(":", 1) for line in text.splitlines() if line]
    assert [int(number) for number, _ in lines] == TYPE_IDS
    assert [name.strip() for _, name in lines] == CLASS_ORDERS["xview"]["official"]


def test_rows_of_a_classifier_follow_the_permutation_back():
    theirs = CLASS_ORDERS["dota_v1"]["bbt"]  # one row a class
    rows = [theirs[number] for number in class_permutation("dota_v1", "canonical", "bbt")]
    assert rows == CLASS_ORDERS["dota_v1"]["canonical"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dota", "bbt", "canonical"), "no class orders of data set 'dota'; expected .*'dota_v1'"),
        (("dior", "bbt", "canonical"), r"no class order 'bbt'; expected .*'canonical', 'torchgeo'"),
        (("dior", "canonical", "bbt"), "data set 'dior' has no class order 'bbt'"),
    ],
)
def test_an_unknown_order_is_an_error_that_lists_the_known_ones(arguments, message):
    with pytest.raises(ValueError, match=message):
        class_permutation(*arguments)
