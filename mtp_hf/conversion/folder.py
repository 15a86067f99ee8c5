"""Write a converted model as a folder in Hub layout: the whole of it, or nothing.

Beside what any model of ours has lie `conversion.json`, the fate of every key, and
`original_unused.safetensors`, the tensors that nothing of ours uses: with both the original file
can be made again.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import BaseImageProcessor

from mtp_hf.conversion.card import render_card
from mtp_hf.conversion.checkpoint_file import Checkpoint, read_checkpoint
from mtp_hf.conversion.config import Wishes
from mtp_hf.conversion.convert import Conversion, convert_state_dict
from mtp_hf.conversion.original import LEFTOVERS, RECORD, relative_position_index
from mtp_hf.conversion.report import ConversionReport
from mtp_hf.hub.bundle import save_with_code
from mtp_hf.modeling.image_processing_classification import ClassificationImageProcessor
from mtp_hf.modeling.image_processing_detection import (
    DetectionImageProcessor,
    InstanceSegmentationImageProcessor,
)
from mtp_hf.modeling.image_processing_mtp import MTPImageProcessor
from mtp_hf.modeling.image_processing_segmentation import (
    ChangeDetectionImageProcessor,
    SegmentationImageProcessor,
)

# End of a model's name -> its processor; other models take that of pretraining.
PROCESSORS: dict[str, type[BaseImageProcessor]] = {
    "ForImageClassification": ClassificationImageProcessor,
    "ForObjectDetection": DetectionImageProcessor,
    "ForOrientedObjectDetection": DetectionImageProcessor,
    "ForInstanceSegmentation": InstanceSegmentationImageProcessor,
    "ForSemanticSegmentation": SegmentationImageProcessor,
    "ForChangeDetection": ChangeDetectionImageProcessor,
}


def convert_checkpoint(
    source: Path | str,
    destination: Path | str,
    *,
    dataset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    strict: bool = True,
    overwrite: bool = False,
) -> ConversionReport:
    """Convert a checkpoint of the original into a folder in Hub layout.

    Args:
        source: `.pth` or `.safetensors` file; nothing that it names is run.
        destination: new or empty folder, which the source does not lie in.
        dataset: names the classes; for the multi-task model three names with commas.
        settings: fields of the config that no key tells, as in `Wishes`.
        strict: fail on any key that is left over without a known reason.
        overwrite: replace the folder of a model that is there.

    Returns:
        What became of every key.

    Raises:
        ValueError: about the source, the settings or the destination; nothing is written then.
    """
    source, destination = Path(source).expanduser(), Path(destination).expanduser()
    check_destination(destination, overwrite=overwrite)
    if source.resolve().is_relative_to(destination.resolve()):
        raise ValueError(f"{destination}: {source} lies in it and would be lost; choose another")
    checkpoint = read_checkpoint(source)
    wishes = Wishes(dataset, settings or {}, checkpoint.class_names)
    try:
        conversion = convert_state_dict(checkpoint.state_dict, wishes, strict=strict)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    conversion.report.notes += _passed_over(checkpoint)
    channels = getattr(conversion.config, "backbone_config", conversion.config).num_channels
    if channels != 3:
        conversion.report.notes.append(
            f"the network reads images of {channels} channels, the image processor makes three"
        )
    with written_whole(destination) as folder:
        _write(conversion, checkpoint, source.name, folder)
        card = render_card(conversion.report, conversion.config, source.name, destination.name)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return conversion.report


def check_destination(path: Path, *, overwrite: bool) -> None:
    """Refuse to write where something is.

    Raises:
        ValueError: the path is a file, or a folder that is not empty, without `overwrite`; with
            it, a file or a folder of anything else than a model.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise ValueError(f"{path}: exists already; --overwrite replaces the folder of a model")
    is_model = any((path / name).is_file() for name in ("config.json", RECORD))
    if not is_model or any(entry.is_dir() for entry in path.iterdir()):
        raise ValueError(f"{path}: no folder of a model alone, so --overwrite does not replace it")


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a folder beside `path` that takes its place when the block ends without an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error}") from None
    try:
        made, old = work / "new", work / "old"
        made.mkdir()
        yield made
        if path.exists():
            path.rename(old)
        try:
            made.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
    except OSError as error:
        raise ValueError(f"{path}: cannot be written: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def build_processor(model_name: str, side: int | None) -> BaseImageProcessor:
    """Return the processor of a model.

    Args:
        model_name: class of the model.
        side: in pixels, of the images that it learned from; None takes the task's usual size.
    """
    kind = next((x for end, x in PROCESSORS.items() if model_name.endswith(end)), MTPImageProcessor)
    if side is None:
        return kind()
    square = {"height": side, "width": side}
    if kind is ClassificationImageProcessor:  # 256 and 224 where published
        return kind(size={"shortest_edge": side * 8 // 7}, crop_size=square)
    return kind(size=square)


def _passed_over(checkpoint: Checkpoint) -> list[str]:
    """Tell what else the file holds."""
    notes = []
    if checkpoint.other_entries:
        entries = ", ".join(checkpoint.other_entries)
        notes.append(f"not read, since they are no weights: {entries}")
    if checkpoint.other_weights:
        entries = ", ".join(checkpoint.other_weights)
        notes.append(
            f"other weights in the file, not taken: {entries}; those of {checkpoint.wrapper} were"
        )
    return notes


def _write(conversion: Conversion, checkpoint: Checkpoint, name: str, folder: Path) -> None:
    model = conversion.build_model()
    assumed = "image_size" in conversion.report.assumed  # by the backbone, whatever the task
    side = None if assumed else _input_side(conversion.config)
    processor = build_processor(type(model).__name__, side)
    save_with_code(model, processor, folder)
    record = {
        "source": name,
        "row": conversion.family,
        "backbone_prefix": conversion.backbone_prefix,
        "wrapper": checkpoint.wrapper,
        "prefix": checkpoint.prefix,
        "keys": list(checkpoint.state_dict),
        "narrow_types": conversion.narrow_types,
        **conversion.report.to_dict(),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    leftovers = {
        key: tensor.contiguous().clone()  # of its own storage, as safetensors wants it
        for key, tensor in conversion.unused.items()
        if not _is_constant(key, tensor)
    }
    if leftovers:
        save_file(leftovers, folder / LEFTOVERS)


def _is_constant(key: str, tensor: torch.Tensor) -> bool:
    """Whether a tensor can be computed again, bit for bit."""
    if not key.endswith("relative_position_index") or tensor.ndim != 2:
        return False
    side = round(tensor.shape[0] ** 0.5)
    return torch.equal(tensor, relative_position_index(side))


def _input_side(config: Any) -> int:
    """Return the side in pixels that images are brought to."""
    return getattr(config, "backbone_config", config).image_size
