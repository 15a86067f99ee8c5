"""Claims about images smaller than a backbone takes."""

import pytest
import torch
from transformers import ResNetConfig

from mtp_hf.modeling import FasterRCNNConfig, ViTRVSAConfig
from mtp_hf.pipelines.small_images import pad_small, smallest_side
from tests.tiny_models import TINY_BACKBONE


def test_the_plain_transformer_needs_more_than_six_patches_a_side():
    assert smallest_side(ViTRVSAConfig()) == 97
    assert smallest_side(FasterRCNNConfig(backbone_config=TINY_BACKBONE)) == 97


def test_convolutions_take_any_image():
    assert smallest_side(ResNetConfig()) == 1


@pytest.mark.parametrize(
    ("size", "padded"), [((60, 200), (128, 200)), ((97, 96), (97, 128)), ((100, 300), (100, 300))]
)
def test_only_sides_that_are_too_short_grow(size, padded):
    pixels = torch.ones(3, *size)
    grown = pad_small(pixels, 97)
    assert grown.shape == (3, *padded)
    assert grown.sum() == pixels.sum()
    assert torch.equal(grown[:, : size[0], : size[1]], pixels)
