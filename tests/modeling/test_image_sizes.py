"""Reading sizes of images."""

import pytest
import torch

from mtp_hf.modeling.image_sizes import read_size, read_sizes


@pytest.mark.parametrize("size", [(3, 4), [3, 4], torch.tensor([3, 4]), torch.Size([3, 4])])
def test_a_size_is_a_pair_of_python_numbers(size):
    assert read_size(size) == (3, 4)
    assert all(type(side) is int for side in read_size(size))


def test_a_size_has_two_sides():
    with pytest.raises(ValueError, match="too many values"):
        read_size((3, 4, 5))


@pytest.mark.parametrize("sizes", [[(1, 2), (3, 4)], torch.tensor([[1, 2], [3, 4]])])
def test_each_image_has_its_size(sizes):
    assert read_sizes(sizes, [(9, 9), (9, 9)]) == [(1, 2), (3, 4)]


def test_without_sizes_there_is_the_default():
    assert read_sizes(None, [(9, 9)]) == [(9, 9)]


def test_other_numbers_of_sizes_are_refused():
    with pytest.raises(ValueError, match="2 images but 1 sizes"):
        read_sizes([(1, 2)], [(9, 9), (9, 9)])
    with pytest.raises(ValueError, match="1 images but 2 target_sizes"):
        read_sizes(torch.zeros(2, 2), [(9, 9)], "target_sizes")
