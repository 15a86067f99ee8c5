"""Claims about gathering, checking and averaging losses."""

import json

import pytest
import torch

from mtp_hf.training.loss_window import LossWindow, NonFiniteLossError, sum_by_task

LABELS = [{"dataset": "sior", "image_id": "00001"}, {"dataset": "fast", "image_id": "t_2"}]


def _losses(x, y):
    return {"sior/ss/loss_x": torch.tensor(x), "fast/is/loss_y": torch.tensor(y)}


@pytest.fixture
def window(accelerator):
    window = LossWindow(accelerator)
    window.seconds = 2.0
    return window


def test_losses_are_averaged_over_batches_and_summed_by_task(window):
    window.add(1, _losses(1.0, 10.0), LABELS)
    window.add(2, _losses(3.0, 20.0), LABELS)
    line = window.summarize()
    assert line["losses"] == {"fast/is/loss_y": 15.0, "sior/ss/loss_x": 2.0}
    assert line["loss"] == 17.0
    assert line["tasks"] == {"ss": 2.0, "is": 15.0}


def test_a_loss_that_some_batches_lack_is_averaged_over_the_others(window):
    window.add(1, _losses(1.0, 10.0), LABELS)
    window.add(2, {"sior/ss/loss_x": torch.tensor(3.0)}, LABELS[:1])
    assert window.summarize()["losses"] == {"fast/is/loss_y": 10.0, "sior/ss/loss_x": 2.0}


def test_rate_and_waiting_share_come_from_the_seconds_of_the_steps(window):
    window.add(1, _losses(1.0, 1.0), LABELS, seconds_waited=0.5)
    window.add(1, _losses(1.0, 1.0), LABELS, seconds_waited=0.5)
    line = window.summarize()
    assert line["images_per_s"] == pytest.approx(2.0, rel=0.2)
    assert line["data_wait"] == pytest.approx(0.5, rel=0.2)


def test_a_summary_starts_a_new_window(window):
    window.add(1, _losses(1.0, 1.0), LABELS)
    window.summarize()
    window.seconds = 1.0
    window.add(2, _losses(5.0, 5.0), LABELS)
    assert window.summarize()["loss"] == 10.0


def test_losses_are_kept_without_their_graph(window):
    window.add(1, {"a/ss/x": torch.tensor(1.0, requires_grad=True)}, LABELS)
    assert not window.records[0].losses["a/ss/x"].requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_on_a_cpu_a_non_finite_loss_stops_at_once_naming_parts_and_images(window, bad):
    with pytest.raises(NonFiniteLossError) as caught:
        window.add(7, _losses(1.5, bad), LABELS)
    message = str(caught.value)
    assert "non-finite loss at step 7" in message
    assert f"fast/is/loss_y = {bad}" in message
    assert "sior/ss/loss_x = 1.5" in message
    assert "images: sior/00001, fast/t_2" in message


def test_elsewhere_the_check_comes_with_the_summary_and_names_the_first_bad_step(window):
    window.checks_each_batch = False
    window.add(1, _losses(1.0, 1.0), LABELS)
    window.add(2, _losses(1.0, float("nan")), LABELS[1:])
    window.add(3, _losses(float("nan"), float("nan")), LABELS)
    with pytest.raises(NonFiniteLossError, match="at step 2(.|\n)*images: fast/t_2"):
        window.summarize()


def test_a_check_before_a_checkpoint_finds_a_bad_gradient(window):
    window.checks_each_batch = False
    window.add(1, _losses(1.0, 1.0), LABELS)
    window.add_gradient_norm(1, torch.tensor(float("inf")))
    with pytest.raises(NonFiniteLossError, match="non-finite gradient at step 1"):
        window.check()


def test_on_a_cpu_a_bad_gradient_stops_before_the_optimizer(window):
    window.add(4, _losses(1.0, 1.0), LABELS)
    with pytest.raises(NonFiniteLossError, match="non-finite gradient at step 4"):
        window.add_gradient_norm(4, torch.tensor(float("nan")))


def test_a_bad_gradient_names_the_images_of_every_accumulated_batch(window):
    window.add(3, _losses(5.0, 5.0), [{"dataset": "sior", "image_id": "earlier"}])
    window.add(4, _losses(1.0, 1.0), LABELS[:1])
    window.add(4, _losses(2.0, 2.0), LABELS[1:])
    with pytest.raises(NonFiniteLossError) as caught:
        window.add_gradient_norm(4, torch.tensor(float("nan")))
    lines = str(caught.value).splitlines()
    assert [line for line in lines if line.startswith("images")] == [
        "images: sior/00001",
        "images: fast/t_2",
    ]
    assert "  fast/is/loss_y = 2" in lines


def test_a_window_goes_on_where_its_state_was_taken(window, accelerator):
    window.add(1, _losses(1 / 3, 10.0), LABELS, seconds_waited=0.5)
    state = json.loads(json.dumps(window.state_dict()))
    again = LossWindow(accelerator)
    again.load_state_dict(state)
    for each in (window, again):
        each.add(2, _losses(0.1, 20.0), LABELS)
    expected, found = window.summarize(), again.summarize()
    assert found["losses"] == expected["losses"]
    assert found["images_per_s"] == pytest.approx(expected["images_per_s"], rel=0.05)
    assert found["data_wait"] == pytest.approx(0.25, rel=0.05)


def test_with_a_loss_scaler_an_infinite_gradient_is_no_error(window, accelerator):
    accelerator.scaler = object()
    window.add(1, _losses(1.0, 1.0), LABELS)
    window.add_gradient_norm(1, torch.tensor(float("inf")))
    window.check()


def test_sum_by_task_reads_the_middle_of_the_name():
    assert sum_by_task({"a/ss/x": 1.0, "b/ss/y": 2.0, "b/rd/x": 4.0}) == {"ss": 3.0, "rd": 4.0}
