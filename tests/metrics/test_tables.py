import numpy as np
import pytest

from mtp_hf.metrics.tables import flatten_metrics, format_table

INSTANCES = {
    "box_ap": 0.4,
    "per_class": {
        "num_gts": np.array([3, 0]),
        "num_detections": np.array([10, 2]),
        "box_ap50": np.array([0.5, np.nan]),
        "mask_ap50": np.array([0.25, np.nan]),
    },
}
SEMANTIC = {"miou": 0.6, "per_class": {"iou": np.array([0.9, 0.3, 0.6])}}
ROTATED = {
    "ap50": 0.125,
    "per_class": {
        "num_gts": np.array([4, 1]),
        "num_detections": np.array([5, 6]),
        "ap50": np.array([0.25, 0.0]),
    },
}


def cells(line):
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_table_has_a_line_a_class_and_the_sums_and_means():
    lines = format_table(["plane", "ship"], {"is": INSTANCES}).splitlines()
    assert cells(lines[0]) == ["class", "objects", "detections", "AP50 box", "AP50 mask"]
    assert cells(lines[1]) == ["plane", "3", "10", "50.00", "25.00"]
    assert cells(lines[2]) == ["ship", "0", "2", "-", "-"]
    assert cells(lines[3]) == ["all", "3", "12", "50.00", "25.00"]
    assert len(lines) == 4


def test_background_has_a_line_where_maps_are_scored():
    lines = format_table(
        ["plane", "ship"], {"ss": SEMANTIC, "is": INSTANCES, "rd": ROTATED}
    ).splitlines()
    assert cells(lines[1]) == ["background", "90.00"]
    assert cells(lines[2]) == ["plane", "3", "10", "50.00", "25.00", "4", "5", "25.00", "30.00"]
    assert cells(lines[4]) == ["all", "3", "12", "50.00", "25.00", "5", "11", "12.50", "60.00"]


def test_columns_are_aligned():
    lines = format_table(["a", "ground-track-field"], {"is": INSTANCES, "rd": ROTATED}).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith("a  ")


def test_wrong_number_of_names_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        format_table(["plane"], {"is": INSTANCES})


def test_flat_names_join_data_set_task_and_metric():
    nested = {
        "sior": {"is": INSTANCES, "ss": SEMANTIC},
        "pooled": {"ss": {"miou": 0.5}},
        "tables": {"sior": "class ..."},
    }
    assert flatten_metrics(nested) == {
        "sior/is/box_ap": 0.4,
        "sior/ss/miou": 0.6,
        "pooled/ss/miou": 0.5,
    }


def test_flat_names_keep_undefined_values():
    assert np.isnan(flatten_metrics({"a": {"ss": {"miou": float("nan")}}})["a/ss/miou"])
