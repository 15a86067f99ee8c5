"""Claims about the checks of what metrics are given."""

import numpy as np
import pytest
import torch

from mtp_hf.metrics.inputs import (
    about_image,
    check_finite,
    check_keys,
    image_name,
    reference_name,
)


@pytest.mark.parametrize("image_id", [7, np.int64(7), torch.tensor(7), torch.tensor([7]), "7"])
def test_a_number_names_an_image_in_whatever_form(image_id):
    assert image_name(image_id) == "7"


@pytest.mark.parametrize(
    ("reference", "message"),
    [({"label": 1}, r"no image_id, only \['label'\]"), (3, "is 3, expected a dict")],
)
def test_a_reference_without_a_name_is_refused(reference, message):
    with pytest.raises(ValueError, match=message):
        reference_name(reference)


def test_errors_begin_with_the_image():
    with pytest.raises(ValueError, match="^image 'P7': too small$"), about_image("P7"):
        raise ValueError("too small")


@pytest.mark.parametrize(
    ("values", "message"),
    [({"boxes": 1}, r"has no scores, only \['boxes'\]"), (5, "is 5, expected a dict with scores")],
)
def test_what_is_missing_is_named(values, message):
    with pytest.raises(ValueError, match=f"the prediction {message}"):
        check_keys(values, ("scores",), "prediction")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_counted(bad):
    with pytest.raises(ValueError, match=f"scores: 1 of 2 numbers are {bad}"):
        check_finite(np.array([0.5, bad]), "scores")
    check_finite(np.zeros(0), "scores")
