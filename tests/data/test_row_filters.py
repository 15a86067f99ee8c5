import pytest
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as PILImage

from mtp_hf.data.row_filters import trainable_rows


def _rows(*rows):
    """A data set of (number of objects, width, height)."""
    features = Features(
        {
            "image": Image(),
            "width": Value("int32"),
            "height": Value("int32"),
            "objects": {
                "bbox": List(List(Value("float32"), length=4)),
                "category": List(ClassLabel(names=["ship"])),
            },
        }
    )
    columns = {
        "image": [PILImage.new("RGB", (2, 2)) for _ in rows],
        "width": [width for _, width, _ in rows],
        "height": [height for _, _, height in rows],
        "objects": [
            {"bbox": [[0.0, 0, 1, 1]] * count, "category": [0] * count} for count, _, _ in rows
        ],
    }
    return Dataset.from_dict(columns, features=features)


def test_rows_without_objects_or_with_short_sides_are_left_out():
    rows = _rows((1, 64, 64), (0, 64, 64), (3, 31, 64), (2, 64, 32), (1, 64, 31))
    assert trainable_rows(rows) == [0, 3]
    assert trainable_rows(rows, min_side=0) == [0, 2, 3, 4]
    assert rows.select(trainable_rows(rows))[1]["height"] == 32


def test_chosen_rows_are_counted_anew():
    rows = _rows((1, 64, 64), (0, 64, 64), (3, 64, 64)).select([1, 2])
    assert trainable_rows(rows) == [1]


def test_pictures_are_not_decoded():
    rows = _rows((1, 64, 64)).cast_column("image", Image(decode=False))
    broken = rows.map(lambda row: {"image": {"bytes": b"no picture", "path": None}})
    assert trainable_rows(broken.cast_column("image", Image())) == [0]


def test_nothing_to_train_on_is_an_error():
    with pytest.raises(ValueError, match="none of 2 rows .* 1 have objects, 1 have sides of 32"):
        trainable_rows(_rows((1, 8, 8), (0, 64, 64)))


def test_columns_are_asked_for_by_name():
    with pytest.raises(ValueError, match=r"no column \['objects'\]"):
        trainable_rows(_rows((1, 64, 64)).remove_columns("objects"))
