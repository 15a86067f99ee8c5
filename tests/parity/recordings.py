"""Read recordings of the original code and compare with them."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import load_file


class Recording:
    """Tensors and settings of one recorded run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.tensors = load_file(folder / f"{name}.safetensors")
        self.meta = json.loads((folder / f"{name}.json").read_text())

    def __getitem__(self, key: str) -> torch.Tensor:
        return self.tensors[key]

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """Tensors below a prefix, without it."""
        return {
            k.removeprefix(prefix + "/"): v
            for k, v in self.tensors.items()
            if k.startswith(prefix + "/")
        }

    def masks(self, key: str, size: tuple[int, int]) -> torch.Tensor:
        """Unpack masks stored as bits: (N, height, width) bool."""
        bits = np.unpackbits(self.tensors[key].numpy(), axis=1)[:, : size[0] * size[1]]
        return torch.from_numpy(bits.reshape(-1, *size).astype(bool))

    def assert_gradient(self, gradient: torch.Tensor, key: str, tolerance: float = 1e-4) -> None:
        """Compare relative to the largest recorded value."""
        expected = self.tensors[key]
        error = float((gradient - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
        assert error <= tolerance, f"{key}: {error:.2e}"


def recorded_weights(folder: Path, manifest: dict, salt: str) -> dict[str, torch.Tensor]:
    """Make the weights of a recording that stores only names, with the recipe beside it."""
    return _recipe(folder).from_manifest(manifest, salt)


def recorded_noise(folder: Path, key: str, shape: Sequence[int]) -> torch.Tensor:
    """Make the noise that a loss was multiplied with."""
    return _recipe(folder).noise(key, shape)


def _recipe(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("recorded_recipe", folder / "recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


def first_of_each(monkeypatch) -> None:
    """Make samplers take the first candidates, as the recordings `train_firstk` did."""
    monkeypatch.setattr(torch, "randperm", lambda n, **kwargs: torch.arange(n))


def unmatched_besides_ties(
    expected: dict[str, torch.Tensor],
    boxes: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    box_tolerance: float = 0.05,
    score_tolerance: float = 1e-4,
) -> list[int]:
    """Find recorded detections without a partner, regardless of order.

    Detections whose score another recorded detection of the class shares to 1e-6 do not count:
    which of several equal boxes suppression keeps is decided by the last bit.
    """
    free = torch.ones(len(scores), dtype=torch.bool)
    missing = []
    for i, (box, score, label) in enumerate(
        zip(expected["bboxes"], expected["scores"], expected["labels"], strict=True)
    ):
        near = (boxes - box).abs().amax(dim=1) <= box_tolerance
        fits = free & near & (labels == label) & ((scores - score).abs() <= score_tolerance)
        if fits.any():
            free[int(fits.nonzero()[0])] = False
            continue
        ties = (expected["labels"] == label) & ((expected["scores"] - score).abs() <= 1e-6)
        if int(ties.sum()) < 2:
            missing.append(i)
    return missing
