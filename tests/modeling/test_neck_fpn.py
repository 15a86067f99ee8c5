import torch
from torch import nn

from mtp_hf.modeling.neck_fpn import FeaturePyramidNetwork


def _maps(sizes):
    return tuple(torch.randn(2, 4, *size) for size in sizes)


def test_five_maps_of_equal_width():
    outputs = FeaturePyramidNetwork([4] * 4, 6)(_maps([(32, 24), (16, 12), (8, 6), (4, 3)]))
    assert [tuple(x.shape[1:]) for x in outputs] == [
        (6, 32, 24),
        (6, 16, 12),
        (6, 8, 6),
        (6, 4, 3),
        (6, 2, 2),
    ]


def test_extra_map_is_every_second_pixel():
    outputs = FeaturePyramidNetwork([4] * 4, 6)(_maps([(28, 28), (14, 14), (7, 7), (4, 4)]))
    assert torch.equal(outputs[4], outputs[3][:, :, ::2, ::2])


def test_top_down_path_adds_the_nearest_coarser_pixel():
    neck = FeaturePyramidNetwork([1, 1], 1)
    for conv in [*neck.lateral_convs, *neck.output_convs]:
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
        conv.weight.data[..., conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
    coarse = torch.tensor([[[[1.0, 2.0]]]])
    fine = torch.zeros(1, 1, 2, 4)
    assert neck((fine, coarse))[0].tolist() == [[[[1.0, 1.0, 2.0, 2.0]] * 2]]


def test_extra_convolutions_begin_at_the_last_backbone_map_without_activation():
    neck = FeaturePyramidNetwork([2, 3, 4, 5], 6, start_level=1, num_extra_convs=2)
    maps = tuple(torch.randn(1, c, s, s) for c, s in zip([2, 3, 4, 5], [32, 16, 8, 4], strict=True))
    outputs = neck(maps)
    assert [x.shape[-1] for x in outputs] == [16, 8, 4, 2, 1]
    assert [conv.in_channels for conv in neck.lateral_convs] == [3, 4, 5]
    assert torch.equal(outputs[3], neck.extra_convs[0](maps[3]))
    assert torch.equal(outputs[4], neck.extra_convs[1](outputs[3]))
