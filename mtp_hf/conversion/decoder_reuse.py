"""Start a finetuning model from the multi-task model: backbone and the decoder of the same task.

Differs: the original's README offers this, and its script leaves the decoder random without a word
where widths differ; here everything that is not taken is told with its reason.

Source: original spec 4.2, quirk 35.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mtp_hf.conversion.checkpoint_file import read_checkpoint
from mtp_hf.conversion.convert import convert_state_dict
from mtp_hf.hub.whole_model import load_whole, read_config
from mtp_hf.modeling.convert_mtp_checkpoint import fit_position_table
from mtp_hf.modeling.modeling_faster_rcnn import FasterRCNNForObjectDetection
from mtp_hf.modeling.modeling_mask_rcnn import MaskRCNNForInstanceSegmentation
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.modeling.modeling_oriented_rcnn import OrientedRCNNForOrientedObjectDetection
from mtp_hf.modeling.modeling_upernet_rs import UperNetRSForSemanticSegmentation

# Finetuning model -> task of pretraining that has the same decoder.
TASKS: dict[type[PreTrainedModel], str] = {
    UperNetRSForSemanticSegmentation: "ss",
    FasterRCNNForObjectDetection: "is",
    MaskRCNNForInstanceSegmentation: "is",
    OrientedRCNNForOrientedObjectDetection: "rd",
}


@dataclass
class ReuseReport:
    """What a finetuning model took from the multi-task model.

    Args:
        taken: parameters that were copied.
        resized: those of them that were interpolated to another input size.
        not_taken: parameters of the multi-task model -> why they were not.
        fresh: parameters of the finetuning model that start as they were.
    """

    taken: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    not_taken: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Tell it in a few lines; parameters are grouped by their part of the model."""
        lines = [f"taken: {len(self.taken)} tensors ({_parts(self.taken)})"]
        if self.resized:
            lines.append(f"resized among them: {len(self.resized)}")
        for reason in dict.fromkeys(self.not_taken.values()):
            names = [name for name, why in self.not_taken.items() if why == reason]
            lines.append(f"not taken: {_parts(names)}: {reason}")
        return "\n".join([*lines, f"start afresh: {_parts(self.fresh) or 'nothing'}"])


@torch.no_grad()
def load_pretraining_decoder(
    model: PreTrainedModel, source: Path | str | Mapping[str, Tensor]
) -> ReuseReport:
    """Copy backbone and decoder of the multi-task model into a finetuning model.

    Position tables are interpolated to the input size of the model. Classifiers are those of other
    data sets and start afresh.

    Args:
        model: finetuning model of one of `TASKS`, changed in place.
        source: folder of `MTPForPreTraining`, original `.pth` of the multi-task model, or the state
            dict of `MTPForPreTraining`.

    Returns:
        What was taken, what was not and why.

    Raises:
        ValueError: the model has no decoder in pretraining, or the source has not that decoder.
    """
    if type(model) not in TASKS:
        known = ", ".join(kind.__name__ for kind in TASKS)
        raise ValueError(f"{type(model).__name__} has no decoder of pretraining; {known} have")
    prefix = f"decoders.{TASKS[type(model)]}."
    weights = source if isinstance(source, Mapping) else _read(Path(source).expanduser())
    if not any(name.startswith(prefix) for name in weights):
        raise ValueError(f"{prefix}* is missing: the source was pretrained without this task")
    own, report = model.state_dict(), ReuseReport()
    fitted: dict[str, Tensor] = {}
    for name in sorted(weights, key=_is_counter):  # after the averages that they count
        tensor = weights[name]
        target = "decoder." + name.removeprefix(prefix) if name.startswith(prefix) else name
        reason = _why_not(target, own)
        if reason is None:
            fitted[target] = fit_position_table(target, tensor, own[target])
            reason = _misfit(target, fitted, own)
        if reason is not None:
            report.not_taken[name] = reason
            continue
        own[target].copy_(fitted[target])
        report.taken.append(target)
        if fitted[target] is not tensor:
            report.resized.append(target)
    report.fresh = [name for name in own if name not in set(report.taken)]
    return report


def _read(path: Path) -> dict[str, Tensor]:
    if path.is_dir():
        kind = read_config(path).get("model_type")
        if kind != MTPForPreTraining.config_class.model_type:
            raise ValueError(f"{path} holds a model of the kind {kind}, not the multi-task one")
        return load_whole(MTPForPreTraining, path).state_dict()
    try:
        return convert_state_dict(read_checkpoint(path).state_dict).state_dict
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _why_not(target: str, own: Mapping[str, Tensor]) -> str | None:
    if target in own:
        return None
    if target.startswith("classifiers."):
        return "classifiers of the data sets of pretraining"
    if target.startswith("decoders."):
        return "decoder of another task"
    return "the finetuning model has no such parameter"


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _misfit(target: str, fitted: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str | None:
    """Compare shapes; a counter, which has none, goes with its averages."""
    averages = target.replace("num_batches_tracked", "running_mean")
    measured = averages if averages in fitted else target
    there, here = (tuple(tensors[measured].shape) for tensors in (fitted, own))
    return None if there == here else f"{there} in pretraining, {here} here"


def _parts(names: list[str]) -> str:
    """Name the parts of the model that parameters belong to, two levels deep."""
    return ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))
