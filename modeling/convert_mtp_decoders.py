"""Weights of the original multi-task model under the names of `MTPForPreTraining`.

The original numbers its data sets 1, 2, 3; here they have names. Never shipped with the weights.

Source: state dict of the original `MutliTaskPretrnFramework` (original spec 2.1).
"""

import re
from collections.abc import Sequence

from .convert_mtp_checkpoint import RenameTable, move_table

_WEIGHT = r"(weight|bias)"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"

# UPerNet, after `semsegdecoder.decode_head.`; becomes `decoders.ss.`.
UPERNET_TABLE: RenameTable = (
    (r"psp_modules\.(\d)\.1\.conv\.weight", r"pool_convs.\1.conv.weight"),
    (rf"psp_modules\.(\d)\.1\.bn\.{_NORM}", r"pool_convs.\1.norm.\2"),
    (r"bottleneck\.conv\.weight", r"pool_bottleneck.conv.weight"),
    (rf"bottleneck\.bn\.{_NORM}", r"pool_bottleneck.norm.\1"),
    (r"lateral_convs\.(\d)\.conv\.weight", r"lateral_convs.\1.conv.weight"),
    (rf"lateral_convs\.(\d)\.bn\.{_NORM}", r"lateral_convs.\1.norm.\2"),
    (r"fpn_convs\.(\d)\.conv\.weight", r"output_convs.\1.conv.weight"),
    (rf"fpn_convs\.(\d)\.bn\.{_NORM}", r"output_convs.\1.norm.\2"),
    (r"fpn_bottleneck\.conv\.weight", r"fusion.conv.weight"),
    (rf"fpn_bottleneck\.bn\.{_NORM}", r"fusion.norm.\1"),
    (r"conv_seg\.(weight|bias)", None),  # a classifier of one class that the original never runs
)

# Both two-stage decoders, after `inssegdecoder.` or `rotdetdecoder.`.
TWO_STAGE_TABLE: RenameTable = (
    (rf"neck\.lateral_convs\.(\d)\.conv\.{_WEIGHT}", r"neck.lateral_convs.\1.\2"),
    (rf"neck\.fpn_convs\.(\d)\.conv\.{_WEIGHT}", r"neck.output_convs.\1.\2"),
    (rf"rpn_head\.rpn_conv\.{_WEIGHT}", r"rpn_head.conv.\1"),
    (rf"rpn_head\.rpn_cls\.{_WEIGHT}", r"rpn_head.objectness.\1"),
    (rf"rpn_head\.rpn_reg\.{_WEIGHT}", r"rpn_head.regressor.\1"),
    (rf"roi_head\.bbox_head\.shared_fcs\.0\.{_WEIGHT}", r"box_head.fc1.\1"),
    (rf"roi_head\.bbox_head\.shared_fcs\.1\.{_WEIGHT}", r"box_head.fc2.\1"),
    (rf"roi_head\.mask_head\.convs\.(\d)\.conv\.{_WEIGHT}", r"mask_head.convs.\1.\2"),
    (rf"roi_head\.mask_head\.upsample\.{_WEIGHT}", r"mask_head.upsample.\1"),
)

# Last layers: `{name}{number}` -> task and layer.
_CLASSIFIERS = {
    r"semseghead_(\d)\.1": ("ss", "classifier"),
    r"inssegroiboxhead_fc_cls(\d)": ("is", "box.classifier"),
    r"inssegroiboxhead_fc_reg(\d)": ("is", "box.regressor"),
    r"inssegroimaskhead_conv(\d)": ("is", "mask"),
    r"rotdetroiboxhead_fc_cls(\d)": ("rd", "box.classifier"),
    r"rotdetroiboxhead_fc_reg(\d)": ("rd", "box.regressor"),
}

_DECODERS = (
    ("semsegdecoder.decode_head.", "decoders.ss.", UPERNET_TABLE),
    ("inssegdecoder.", "decoders.is.", TWO_STAGE_TABLE),
    ("rotdetdecoder.", "decoders.rd.", TWO_STAGE_TABLE),
)


def pretraining_table(datasets: Sequence[str]) -> RenameTable:
    """Return the rows for everything outside the encoder.

    Args:
        datasets: Names of the original's data sets 1, 2, 3, in that order.
    """
    decoders = [row for prefix, new, table in _DECODERS for row in move_table(table, prefix, new)]
    return [*decoders, *_classifier_table(datasets)]


def _classifier_table(datasets: Sequence[str]) -> list[tuple[str, str | None]]:
    """Spell the classifier rows out for each data set."""
    return [
        (
            pattern.replace(r"(\d)", str(number)) + rf"\.{_WEIGHT}",
            rf"classifiers.{task}.{re.escape(name)}.{layer}.\1",
        )
        for number, name in enumerate(datasets, start=1)
        for pattern, (task, layer) in _CLASSIFIERS.items()
    ]
