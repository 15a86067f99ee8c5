import pytest

from mtp_hf.data.object_lists import class_labels, label_range, object_lists, truth_values


def test_lists_that_are_null_are_left_out_where_they_are_optional():
    objects = {"bbox": [[0, 0, 1, 1]], "iscrowd": None, "note": "text"}
    assert object_lists(objects, ["bbox"], ["iscrowd", "area"]) == {"bbox": [[0, 0, 1, 1]]}


def test_a_required_list_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"have no bbox, only \['category'\]"):
        object_lists({"category": []}, ["bbox", "category"])


def test_lengths_that_differ_are_told():
    with pytest.raises(ValueError, match="{'bbox': 0, 'category': 1}"):
        object_lists({"bbox": [], "category": [1]}, ["bbox", "category"])


@pytest.mark.parametrize(
    ("values", "expected"), [(None, [False, False]), ([None, 1], [False, True])]
)
def test_null_is_false(values, expected):
    assert truth_values(values, 2).tolist() == expected


@pytest.mark.parametrize(("num_classes", "expected"), [(3, "0..2"), (None, "no negative number")])
def test_the_range_of_labels_ends_at_the_last_class(num_classes, expected):
    assert label_range(num_classes) == expected


@pytest.mark.parametrize("labels", [[3], [-1]])
def test_labels_out_of_range_are_listed(labels):
    with pytest.raises(ValueError, match=rf"category holds \[{labels[0]}\], expected 0\.\.2"):
        class_labels(labels, 3, "category")
