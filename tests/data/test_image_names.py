from datasets import Dataset

from mtp_hf.data.image_names import with_own_names


def test_rows_of_joined_splits_get_names_of_their_own():
    rows = Dataset.from_dict({"image_id": ["a", "b", "a", "a"], "label": [0, 1, 2, 3]})
    named = with_own_names(rows)
    assert named["image_id"] == ["a", "b", "a (2)", "a (3)"]
    assert named["label"] == [0, 1, 2, 3]
    assert named.features["image_id"] == rows.features["image_id"]


def test_chosen_rows_keep_their_places():
    rows = Dataset.from_dict({"image_id": ["a", "b", "a"], "label": [0, 1, 2]}).select([2, 0])
    named = with_own_names(rows)
    assert (named["image_id"][:], named["label"][:]) == (["a", "a (2)"], [2, 0])


def test_rows_with_different_names_stay_as_they_are():
    rows = Dataset.from_dict({"image_id": ["a", "b"]})
    assert with_own_names(rows) is rows


def test_no_rows_have_no_names():
    assert len(with_own_names(Dataset.from_dict({"image_id": []}))) == 0
