import numpy as np
import pytest
import torch

from mtp_hf.metrics.arrays import as_array, merge_images, nan_mean


def test_bfloat16_tensors_with_gradient_become_float32():
    values = torch.tensor([0.5, 1.5], dtype=torch.bfloat16, requires_grad=True)
    array = as_array(values)
    assert array.dtype == np.float32
    assert array.tolist() == [0.5, 1.5]


def test_arrays_of_the_wanted_type_are_not_copied():
    values = np.arange(3)
    assert as_array(values, np.int64) is values


def test_undefined_values_leave_the_mean():
    assert nan_mean(np.array([[1.0, np.nan], [0.0, np.nan]])) == 0.5


def test_mean_of_nothing_is_undefined_without_a_warning(recwarn):
    assert np.isnan(nan_mean(np.array([np.nan])))
    assert not recwarn.list


def test_an_image_of_several_processes_counts_as_the_first_has_it():
    images = merge_images({"a": 1}, [{"a": 2, "b": 3}, {"b": 4, "c": 5}])
    assert images == {"a": 1, "b": 3, "c": 5}


@pytest.mark.gpu
def test_tensors_come_back_from_the_device():
    assert as_array(torch.ones(2, device="cuda")).tolist() == [1.0, 1.0]
