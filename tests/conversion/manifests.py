"""Names and shapes of the original's full-size models, as recorded."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch

FILES = ("keys_multitask", "keys_backbones", "keys_finetune")
DTYPES = {"float32": torch.float32, "int64": torch.int64}


def read_manifests(folder: Path) -> Iterator[tuple[str, dict[str, list]]]:
    """Yield name and key -> [shape, dtype]; entries told as differences are filled up."""
    for file in FILES:
        entries = json.loads((folder / f"{file}.json").read_text())
        for name, entry in entries.items():
            keys = entry.get("keys")
            if keys is None:
                like = entries[entry["like"]]["keys"]
                keys = {k: v for k, v in like.items() if k not in entry["missing"]}
                keys |= entry["different"]
            yield name, keys


def on_meta(keys: dict[str, list]) -> dict[str, torch.Tensor]:
    """Make tensors without memory."""
    return {
        key: torch.empty(shape, dtype=DTYPES[dtype], device="meta")
        for key, (shape, dtype) in keys.items()
    }
