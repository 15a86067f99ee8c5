import torch
from torch import nn

from mtp_hf.modeling.layers_conv import BatchNormOrRunning, ConvNormReLU


def test_norm_of_several_values_is_batch_norm():
    x = torch.randn(2, 3, 4, 4)
    ours, theirs = BatchNormOrRunning(3), nn.BatchNorm2d(3)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_mean, theirs.running_mean)


def test_norm_of_one_value_per_channel_uses_and_keeps_running_statistics():
    norm = BatchNormOrRunning(3)
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    out = norm(torch.full((1, 3, 1, 1), 3.0))
    torch.testing.assert_close(out, torch.full((1, 3, 1, 1), 1.0), rtol=1e-5, atol=0)
    assert norm.running_mean.tolist() == [1.0] * 3


def test_block_keeps_size_and_is_not_negative():
    out = ConvNormReLU(3, 5, 3)(torch.randn(2, 3, 7, 9))
    assert out.shape == (2, 5, 7, 9)
    assert (out >= 0).all()


def test_gradient_of_one_value_does_not_see_a_later_update():
    norm = BatchNormOrRunning(2)
    gradients = []
    for later_update in (False, True):
        norm.reset_running_stats()
        x = torch.ones(1, 2, 1, 1, requires_grad=True)
        out = norm(x)
        if later_update:
            norm(torch.randn(4, 2, 3, 3) * 10)
        out.sum().backward()
        gradients.append(x.grad)
    assert torch.equal(gradients[0], gradients[1])
