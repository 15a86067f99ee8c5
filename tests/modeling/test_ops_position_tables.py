import pytest
import torch

from mtp_hf.modeling.ops_position_tables import (
    distance_index,
    relative_position_terms,
    resize_position_embedding,
    resize_rel_pos,
    window_position_bias,
)


def test_table_of_the_same_grid_is_returned_as_it_is():
    table = torch.randn(1, 49, 5)
    assert resize_position_embedding(table, (7, 7)) is table


def _cubic(distance):
    """Weight of a tap in bicubic interpolation with a = -0.75 (Keys 1981)."""
    t, a = abs(distance), -0.75
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a


def test_position_table_is_resized_by_bicubic_taps_without_antialiasing():
    table = torch.randn(1, 64, 3)
    wide = resize_position_embedding(table, (8, 16)).view(8, 16, 3)
    # Column 6 of 16 lies at (6 + 0.5) / 2 - 0.5 = 2.75 of 8.
    expected = sum(_cubic(2.75 - k) * table.view(8, 8, 3)[:, k] for k in (1, 2, 3, 4))
    torch.testing.assert_close(wide[:, 6], expected)
    narrow = resize_position_embedding(table, (4, 8)).view(4, 8, 3)
    expected = sum(_cubic(2.5 - k) * table.view(8, 8, 3)[k] for k in (1, 2, 3, 4))
    torch.testing.assert_close(narrow[1], expected)


def test_position_table_keeps_its_dtype():
    table = torch.randn(1, 49, 4, dtype=torch.bfloat16)
    assert resize_position_embedding(table, (9, 8)).dtype == torch.bfloat16


@pytest.mark.parametrize("length", [13, 15, 27])
def test_relative_table_has_the_wanted_length_and_keeps_constants(length):
    table = torch.full((13, 4), 2.5)
    torch.testing.assert_close(resize_rel_pos(table, length), torch.full((length, 4), 2.5))


def test_distance_index_counts_from_the_largest_negative_distance():
    expected = torch.tensor([[2, 1, 0], [3, 2, 1], [4, 3, 2]])
    assert torch.equal(distance_index(3, torch.device("cpu")), expected)


def test_relative_terms_of_a_hand_case():
    # One row of two tokens with a head of size 1: the only vertical distance is 0.
    query = torch.tensor([[[[2.0], [3.0]]]])
    by_row, by_column = relative_position_terms(
        query, torch.tensor([[10.0]]), torch.tensor([[1.0], [5.0], [7.0]])
    )
    assert by_row.flatten().tolist() == [20.0, 30.0]
    # The left query is 0 and -1 away from the keys, the right one 1 and 0.
    assert by_column.reshape(2, 2).tolist() == [[10.0, 2.0], [21.0, 15.0]]


def test_relative_terms_equal_a_loop_over_pairs():
    height, width = 3, 4
    query = torch.randn(2, height, width, 5)
    table_h, table_w = torch.randn(2 * height - 1, 5), torch.randn(2 * width - 1, 5)
    by_row, by_column = relative_position_terms(query, table_h, table_w)
    for h in range(height):
        for w in range(width):
            for k in range(height):
                expected = query[:, h, w] @ table_h[h - k + height - 1]
                torch.testing.assert_close(by_row[:, h, w, k], expected)
            for k in range(width):
                expected = query[:, h, w] @ table_w[w - k + width - 1]
                torch.testing.assert_close(by_column[:, h, w, k], expected)


def test_window_bias_equals_a_loop_over_pairs():
    side, heads = 3, 2
    query = torch.randn(4, heads, side**2, 5)
    table_h, table_w = torch.randn(5, 5), torch.randn(5, 5)
    learned = torch.randn(25, heads)
    bias = window_position_bias(query, table_h, table_w, learned, side)
    for i in range(side**2):
        for j in range(side**2):
            h, w = i // side - j // side + side - 1, i % side - j % side + side - 1
            expected = query[:, :, i] @ (table_h[h] + table_w[w]) + learned[h * 5 + w]
            torch.testing.assert_close(bias[:, :, i, j], expected)
