"""Weights of the original's classification, segmentation and change detection models.

Keys of mmpretrain, mmsegmentation 1.0 and Open-CD 1.1 after finetuning, under the names of
`ViTRVSAForImageClassification`, `UperNetRSForSemanticSegmentation` and
`SiameseUNetForChangeDetection`. Each table is for what follows the head's prefix; the backbone has
its own. Never shipped with the weights.

Source: original spec 3.0 (state-dict prefixes).
"""

from .convert_mtp_checkpoint import RenameTable
from .convert_mtp_decoders import UPERNET_TABLE

_WEIGHT = r"(weight|bias)"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"

# The classifier of pixels, where the original runs it; in pretraining it has one class and is not.
_PIXEL_CLASSIFIER = (rf"decode_head\.conv_seg\.{_WEIGHT}", r"classifier.classifier.\1")

CLASSIFICATION_HEAD_TABLE: RenameTable = ((rf"head\.fc\.{_WEIGHT}", r"classifier.\1"),)

SEGMENTATION_HEAD_TABLE: RenameTable = (
    _PIXEL_CLASSIFIER,
    *(
        (rf"decode_head\.{pattern}", None if new is None else f"decoder.{new}")
        for pattern, new in UPERNET_TABLE
    ),
)

CHANGE_HEAD_TABLE: RenameTable = (
    _PIXEL_CLASSIFIER,
    (r"decode_head\.blocks\.(\d)\.conv([12])\.0\.weight", r"decoder.blocks.\1.conv\2.conv.weight"),
    (rf"decode_head\.blocks\.(\d)\.conv([12])\.1\.{_NORM}", r"decoder.blocks.\1.conv\2.norm.\3"),
)
