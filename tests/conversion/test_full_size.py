"""Full-size checkpoints with random values under the recorded names: convert, load, go back."""

import resource
import sys
import time

import pytest
import torch

from mtp_hf.conversion.folder import convert_checkpoint
from mtp_hf.conversion.original import relative_position_index, restore_original
from mtp_hf.modeling.modeling_internimage import InternImageBackbone
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from tests.conversion.manifests import read_manifests


def _random_values(keys):
    generator = torch.Generator().manual_seed(0)
    values = {}
    for key, (shape, dtype) in keys.items():
        if key.endswith("relative_position_index"):
            values[key] = relative_position_index(round(shape[0] ** 0.5))
        elif dtype == "int64":
            values[key] = torch.tensor(3)
        else:
            values[key] = torch.randn(shape, generator=generator) * 0.02
    return values


@pytest.mark.slow
@pytest.mark.parametrize(
    ("manifest", "backbone_class", "side"),
    [
        ("B@224", ViTRVSABackbone, 224),
        ("L@448", ViTRVSABackbone, 448),
        ("XL@224", InternImageBackbone, 224),
    ],
)
@torch.no_grad()
def test_full_size_backbone_survives_the_way_there_and_back(
    shared_dir, tmp_path, capsys, manifest, backbone_class, side
):
    keys = dict(read_manifests(shared_dir / "fixtures"))[manifest]
    weights = _random_values(keys)
    torch.save({"state_dict": weights, "optimizer": {}}, tmp_path / "x.pth")
    start = time.perf_counter()
    report = convert_checkpoint(tmp_path / "x.pth", tmp_path / "out")
    seconds = time.perf_counter() - start
    assert report.unexplained == [] and report.missing == {}
    backbone = backbone_class.from_pretrained(tmp_path / "out").eval()
    own = backbone.state_dict()
    for key, name in report.converted.items():
        assert torch.equal(own[name], weights[key]), key
    maps = backbone(torch.randn(1, 3, side, side)).feature_maps
    assert [m.shape[-1] for m in maps] == [side // stride for stride in (4, 8, 16, 32)]
    assert all(m.isfinite().all() for m in maps)
    restore_original(tmp_path / "out", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", mmap=True)["state_dict"]
    assert list(back) == list(weights)
    assert all(torch.equal(back[key], value) for key, value in weights.items())
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    with capsys.disabled():
        print(f"\n{manifest}: converted in {seconds:.1f} s; peak of the process {peak:,.0f} MiB")
