"""Accuracy against hand-counted cases, whole and merged."""

import numpy as np
import pytest

from mtp_hf.metrics.classification import ClassificationAccumulator


def scores(*order, num_classes=6):
    """Scores that rank the given classes first."""
    values = np.zeros(num_classes)
    for place, label in enumerate(order):
        values[label] = 10 - place
    return {"scores": values}


def reference(name, label):
    return {"image_id": name, "label": np.int64(label)}


@pytest.fixture
def accumulator():
    accumulator = ClassificationAccumulator(6)
    accumulator.update(
        [scores(0), scores(1, 0), scores(1), scores(5, 4, 3, 2, 0, 1)],
        [reference("a", 0), reference("b", 0), reference("c", 1), reference("d", 1)],
    )
    return accumulator


def test_counts_by_hand(accumulator):
    found = accumulator.compute()
    assert found["accuracy"] == 0.5  # a and c
    assert found["top5_accuracy"] == 0.75  # b as well; the label of d comes sixth
    classes = found["per_class"]
    np.testing.assert_allclose(classes["accuracy"][:2], [0.5, 0.5])
    np.testing.assert_allclose(classes["precision"][:2], [1.0, 0.5])
    assert list(classes["num_reference"]) == [2, 2, 0, 0, 0, 0]
    assert found["mean_accuracy"] == 0.5  # of the two classes that occur
    assert np.isnan(classes["accuracy"][2:]).all()
    assert found["confusion"][0].tolist() == [1, 1, 0, 0, 0, 0]
    assert found["confusion"][1].tolist() == [0, 1, 0, 0, 0, 1]


def test_an_image_counts_once(accumulator):
    accumulator.update([scores(3)], [reference("a", 0)])
    assert accumulator.compute()["accuracy"] == 0.5


def test_shares_of_two_processes_give_the_same(accumulator):
    shares = [ClassificationAccumulator(6) for _ in range(2)]
    shares[0].update([scores(0), scores(1, 0)], [reference("a", 0), reference("b", 0)])
    shares[1].update(
        [scores(1), scores(5, 4, 3, 2, 0, 1), scores(0)],
        [reference("c", 1), reference("d", 1), reference("a", 0)],
    )
    shares[0].merge([shares[1].state()])
    one, two = accumulator.compute(), shares[0].compute()
    assert one["accuracy"] == two["accuracy"] and one["top5_accuracy"] == two["top5_accuracy"]
    np.testing.assert_array_equal(one["confusion"], two["confusion"])


@pytest.mark.parametrize(
    ("prediction", "label"), [(scores(0, num_classes=5), 0), (scores(0), 6), (scores(0), -1)]
)
def test_what_does_not_fit_the_classes_is_refused(prediction, label):
    with pytest.raises(ValueError, match="image 'a': .* expected 6 classes"):
        ClassificationAccumulator(6).update([prediction], [reference("a", label)])


def test_scores_that_are_not_finite_name_the_image():
    with pytest.raises(ValueError, match="image 'a': scores: 6 of 6 numbers are nan"):
        ClassificationAccumulator(6).update([{"scores": np.full(6, np.nan)}], [reference("a", 0)])


@pytest.mark.parametrize(
    ("prediction", "wanted"), [({"logits": [1.0]}, {"label": 0}), ({"scores": [1.0]}, {})]
)
def test_what_is_missing_names_the_image(prediction, wanted):
    with pytest.raises(ValueError, match="image 'a': the (prediction|reference) has no"):
        ClassificationAccumulator(1).update([prediction], [{"image_id": "a", **wanted}])


def test_f1_of_a_class_that_is_never_predicted_is_zero():
    accumulator = ClassificationAccumulator(6)
    accumulator.update([scores(0), scores(0)], [reference("a", 0), reference("b", 1)])
    found = accumulator.compute()["per_class"]["f1"]
    np.testing.assert_allclose(found[:2], [2 / 3, 0.0])
    assert np.isnan(found[2:]).all()  # neither labelled nor predicted


def test_the_first_five_are_undefined_where_only_the_class_is_given():
    accumulator = ClassificationAccumulator(6)
    accumulator.update([{"label": 1}, {"label": 2}], [reference("a", 1), reference("b", 1)])
    found = accumulator.compute()
    assert found["accuracy"] == 0.5
    assert np.isnan(found["top5_accuracy"])


def test_one_class_is_always_among_the_first_five():
    accumulator = ClassificationAccumulator(1)
    accumulator.update([{"scores": [0.3]}], [reference("a", 0)])
    assert accumulator.compute()["top5_accuracy"] == 1.0
