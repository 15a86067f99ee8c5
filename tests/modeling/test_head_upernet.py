import math

import torch

from mtp_hf.modeling.head_upernet import SegmentationClassifier, UPerNetDecoder

SIZES = [(28, 20), (14, 10), (7, 5), (4, 3)]


def _maps(batch=2):
    return tuple(torch.randn(batch, 8, *size) for size in SIZES)


def test_fused_map_has_the_finest_resolution():
    assert UPerNetDecoder([8] * 4, 6, [1, 2, 3, 6])(_maps()).shape == (2, 6, 28, 20)


def test_batch_of_one_trains():
    decoder = UPerNetDecoder([8] * 4, 6, [1, 2, 3, 6]).train()
    decoder(_maps(1)).sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())


def test_loss_of_uniform_logits_counts_ignored_pixels_in_the_mean():
    classifier = SegmentationClassifier(4, 2, 0.0)
    labels = torch.tensor([[[0, 1], [255, 255]]])
    loss = classifier.loss(torch.zeros(1, 2, 1, 1), labels)["loss_segmentation"]
    assert math.isclose(float(loss), math.log(2) / 2, rel_tol=1e-6)


def test_loss_is_zero_and_connected_where_all_is_ignored():
    classifier = SegmentationClassifier(4, 2, 0.0)
    logits = classifier(torch.randn(1, 4, 2, 2))
    loss = classifier.loss(logits, torch.full((1, 4, 4), 255))["loss_segmentation"]
    loss.backward()
    assert float(loss) == 0 and classifier.classifier.weight.grad is not None
