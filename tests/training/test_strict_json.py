"""Claims about JSON with undefined numbers."""

import json

import numpy as np
import pytest

from mtp_hf.training.strict_json import strict_json

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "value", [NAN, -INF, {"a": {"b": NAN}}, [1.0, NAN], (INF,), {"a": np.float64("nan")}]
)
def test_undefined_numbers_are_null_wherever_they_are(value):
    text = strict_json(value)
    json.loads(text, parse_constant=pytest.fail)
    assert "null" in text


def test_everything_else_is_written_exactly():
    value = {"text": "NaN", "flag": True, "none": None, "list": [0.1 + 0.2, 3], "nested": {"a": 1}}
    assert json.loads(strict_json(value, indent=2)) == value
