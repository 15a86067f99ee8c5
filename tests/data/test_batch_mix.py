import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from mtp_hf.data.batch_mix import BatchMix


def _batch(size=4):
    """Image i is the number i everywhere and of class i."""
    labels = torch.arange(size)
    images = labels[:, None, None, None].float().expand(size, 3, 16, 16).contiguous()
    return images, labels


@pytest.mark.parametrize(
    "options", [{"cutmix_alpha": 0.0}, {"mixup_alpha": 0.0}, {}], ids=["mixup", "cutmix", "both"]
)
@pytest.mark.parametrize("size", [2, 3, 4])
def test_shares_of_classes_are_shares_of_pixels(options, size):
    images, labels = _batch(size)
    mix = BatchMix(size, **options)
    for seed in range(10):
        mixed, shares = mix(images, labels, np.random.default_rng(seed))
        assert shares.shape == (size, size)
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(size), atol=1e-6, rtol=0)
        # The image of class i has the value i: the mean pixel is the mean class.
        expected = (shares * torch.arange(size)).sum(dim=1)
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), expected, atol=1e-5, rtol=0)


def _kind(mixed):
    """Whether an image of the batch has more than one value (a pasted rectangle)."""
    return any(len(image.unique()) > 1 for image in mixed)


def test_both_kinds_are_drawn_with_their_probabilities():
    images, labels = _batch()
    for probability, low, high in ((0.0, 0, 0), (0.5, 60, 140), (1.0, 150, 200)):
        mix = BatchMix(4, cutmix_probability=probability)
        found = sum(_kind(mix(images, labels, np.random.default_rng(s))[0]) for s in range(200))
        assert low <= found <= high  # CutMix may draw an empty rectangle


def test_batches_that_are_not_mixed_have_whole_labels():
    images, labels = _batch()
    mixed, shares = BatchMix(5, probability=0.0)(images, labels, np.random.default_rng(0))
    assert mixed is images
    assert torch.equal(shares, F.one_hot(labels, 5).float())
    mix = BatchMix(4, probability=0.3, cutmix_alpha=0.0)
    kept = [mix(images, labels, np.random.default_rng(s))[0] is images for s in range(200)]
    assert 115 <= sum(kept) <= 165


def test_mixing_is_a_function_of_the_generator_and_leaves_its_input():
    images, labels = _batch()
    before = images.clone()
    mix = BatchMix(4)
    for seed in range(4):
        first = mix(images, labels, np.random.default_rng(seed))
        torch.rand(7)  # the global generator moves on
        second = mix(images, labels, np.random.default_rng(seed))
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
    assert torch.equal(images, before)


def test_a_model_can_be_trained_on_the_shares():
    images, labels = _batch()
    mixed, shares = BatchMix(4)(images, labels, np.random.default_rng(0))
    logits = torch.zeros(4, 4, requires_grad=True)
    loss = F.cross_entropy(logits + mixed.mean() * 0, shares)
    torch.testing.assert_close(loss, torch.tensor(4.0).log())
    loss.backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixup_alpha": 0.0, "cutmix_alpha": 0.0}, "not both 0"),
        ({"mixup_alpha": -1.0}, "mixup_alpha -1.0"),
        ({"probability": 1.1}, "mixing probability 1.1"),
        ({"cutmix_probability": -0.1}, "CutMix probability -0.1"),
    ],
)
def test_wrong_settings_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        BatchMix(4, **options)
