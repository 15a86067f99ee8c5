"""Weights of the original's finetuned detectors under the names of our task models.

Never shipped with the weights. The backbone has its own table; here is the rest, of Faster R-CNN,
Mask R-CNN and Oriented R-CNN (one table, as in mmdet 3.1, mmrotate 1.x and 0.3.4) and of RetinaNet.
Layouts agree as well: channels first in the first region layer, background last, the anchors of a
cell slow and their numbers fast in the regression maps.

Source: state dicts of the original detectors (original spec 3.0, table of prefixes).
"""

from .convert_mtp_checkpoint import RenameTable, move_table
from .convert_mtp_decoders import TWO_STAGE_TABLE

_WEIGHT = r"(weight|bias)"

# Last layers of a two-stage detector, after `roi_head.`.
_CLASSIFIER_TABLE: RenameTable = (
    (rf"bbox_head\.fc_cls\.{_WEIGHT}", r"box.classifier.\1"),
    (rf"bbox_head\.fc_reg\.{_WEIGHT}", r"box.regressor.\1"),
    (rf"mask_head\.conv_logits\.{_WEIGHT}", r"mask.\1"),
)


TWO_STAGE_DETECTOR_TABLE: RenameTable = (
    *move_table(TWO_STAGE_TABLE, "", "decoder."),
    *move_table(_CLASSIFIER_TABLE, "roi_head.", "classifier."),
)

RETINANET_TABLE: RenameTable = (
    (rf"neck\.lateral_convs\.(\d)\.conv\.{_WEIGHT}", r"neck.lateral_convs.\1.\2"),
    (rf"neck\.fpn_convs\.([0-2])\.conv\.{_WEIGHT}", r"neck.output_convs.\1.\2"),
    (rf"neck\.fpn_convs\.3\.conv\.{_WEIGHT}", r"neck.extra_convs.0.\1"),
    (rf"neck\.fpn_convs\.4\.conv\.{_WEIGHT}", r"neck.extra_convs.1.\1"),
    (rf"bbox_head\.cls_convs\.(\d)\.conv\.{_WEIGHT}", r"head.class_convs.\1.\2"),
    (rf"bbox_head\.reg_convs\.(\d)\.conv\.{_WEIGHT}", r"head.box_convs.\1.\2"),
    (rf"bbox_head\.retina_cls\.{_WEIGHT}", r"head.classifier.\1"),
    (rf"bbox_head\.retina_reg\.{_WEIGHT}", r"head.regressor.\1"),
)
