"""Matching and sampling."""

import pytest
import torch

from mtp_hf.modeling.ops_matching import IGNORED, NEGATIVE, match_boxes, sample_balanced


def matched_one_by_one(iou, positive, negative, min_positive, low_quality):
    """The rule in loops."""
    matches = torch.full((iou.shape[1],), IGNORED)
    for p in range(iou.shape[1]):
        best = iou[:, p].max()
        if best < negative:
            matches[p] = NEGATIVE
        if best >= positive:
            matches[p] = iou[:, p].argmax()
    if low_quality:
        for g in range(iou.shape[0]):
            if iou[g].max() >= min_positive:
                matches[iou[g] == iou[g].max()] = g
    return matches


def test_thresholds_separate_positive_ignored_and_negative():
    iou = torch.tensor([[0.7, 0.5, 0.3, 0.29], [0.1, 0.2, 0.2, 0.1]])
    assert match_boxes(iou, 0.7, 0.3, 0.3, False).tolist() == [0, IGNORED, IGNORED, NEGATIVE]


def test_all_anchors_that_tie_for_an_objects_best_overlap_are_matched():
    iou = torch.tensor([[0.4, 0.4, 0.35, 0.1]])
    assert match_boxes(iou, 0.7, 0.3, 0.3, True).tolist() == [0, 0, IGNORED, NEGATIVE]


def test_an_object_below_the_minimum_stays_without_match():
    iou = torch.tensor([[0.2, 0.1]])
    assert match_boxes(iou, 0.7, 0.3, 0.3, True).tolist() == [NEGATIVE, NEGATIVE]


def test_an_objects_best_anchor_is_taken_from_a_better_object():
    """The second object's best overlap is with an anchor that fits the first better."""
    iou = torch.tensor([[0.9, 0.8], [0.5, 0.1]])
    assert match_boxes(iou, 0.7, 0.3, 0.3, True).tolist() == [1, 0]


def test_of_two_objects_with_the_same_best_anchor_the_last_wins():
    iou = torch.tensor([[0.5], [0.4], [0.2]])
    assert match_boxes(iou, 0.7, 0.3, 0.3, True).tolist() == [1]


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize("thresholds", [(0.7, 0.3, 0.3), (0.5, 0.5, 0.5), (0.5, 0.4, 0.0)])
def test_matches_are_those_of_the_rule_in_loops(thresholds, low_quality):
    iou = (torch.rand(12, 400) * 20).round() / 20  # many ties
    iou[3] = 0
    iou[:, 50:100] = 0
    expected = matched_one_by_one(iou, *thresholds, low_quality)
    assert torch.equal(match_boxes(iou, *thresholds, low_quality), expected)


def test_without_objects_everything_is_negative():
    assert match_boxes(torch.zeros(0, 3), 0.7, 0.3, 0.3, True).tolist() == [NEGATIVE] * 3


def test_without_anchors_there_are_no_matches():
    matches = match_boxes(torch.zeros(3, 0), 0.7, 0.3, 0.3, True)
    assert matches.shape == (0,)
    assert matches.dtype == torch.int64


MATCHES = torch.tensor([0, -1, 3, -2, 1, -1, -1, -1, 2, -1])


def test_small_sets_are_taken_whole_and_ignored_anchors_never():
    positives, negatives = sample_balanced(MATCHES, 100, 0.5)
    assert positives.tolist() == [0, 2, 4, 8]
    assert negatives.tolist() == [1, 5, 6, 7, 9]


def test_positives_are_limited_to_their_share_and_negatives_fill_up():
    positives, negatives = sample_balanced(MATCHES, 4, 0.5)
    assert (len(positives), len(negatives)) == (2, 2)


def test_few_positives_leave_room_for_negatives():
    positives, negatives = sample_balanced(torch.tensor([0] + [-1] * 20), 10, 0.5)
    assert (len(positives), len(negatives)) == (1, 9)


def test_drawn_indices_are_rising_and_of_their_kind():
    matches = torch.randint(-2, 3, (500,))
    positives, negatives = sample_balanced(matches, 60, 0.25)
    assert len(positives) == 15
    assert (matches[positives] >= 0).all()
    assert (matches[negatives] == NEGATIVE).all()
    assert (positives.diff() > 0).all()
    assert (negatives.diff() > 0).all()


def test_the_draw_is_repeated_by_the_seed_and_differs_without():
    matches = torch.full((1000,), -1)
    torch.manual_seed(7)
    first = sample_balanced(matches, 10, 0.5)[1]
    assert not torch.equal(sample_balanced(matches, 10, 0.5)[1], first)
    torch.manual_seed(7)
    assert torch.equal(sample_balanced(matches, 10, 0.5)[1], first)


def test_without_anchors_nothing_is_drawn():
    positives, negatives = sample_balanced(torch.zeros(0).long(), 10, 0.5)
    assert len(positives) == len(negatives) == 0
