"""From the shapes of an original head to the fields of our config, one function for each head.

Keys are those of the whole original model. Numbers that leave no trace in a shape (thresholds,
anchors, numbers of proposals) keep the published values, which are the defaults of the configs.

Source: original spec 2.1, 3.0.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from mtp_hf.conversion.backbones import Shapes, shape_of
from mtp_hf.dataset_scripts.class_names import DATASET_CLASSES

Fields = dict[str, Any]
# The original's data sets 1, 2, 3 by their numbers of classes.
PRETRAINING_SETS = {18: "sota_rbb", 20: "sior", 37: "fast"}


def two_stage_fields(shapes: Shapes, prefix: str = "") -> Fields:
    """Read the widths of Faster, Mask and Oriented R-CNN."""
    hidden_size = shape_of(shapes, f"{prefix}neck.lateral_convs.0.conv.weight", 4)[0]
    first = f"{prefix}roi_head.bbox_head.shared_fcs.0.weight"
    box_hidden_size, roi_features = shape_of(shapes, first, 2)
    fields = {
        "hidden_size": hidden_size,
        "box_hidden_size": box_hidden_size,
        "roi_size": math.isqrt(roi_features // hidden_size),
    }
    convs = [
        k
        for k in shapes
        if re.fullmatch(rf"{prefix}roi_head\.mask_head\.convs\.\d+\.conv\.weight", k)
    ]
    if convs:
        fields["mask_num_convs"] = len(convs)
        fields["mask_hidden_size"] = shape_of(shapes, convs[0], 4)[0]
    return fields


def retinanet_fields(shapes: Shapes) -> Fields:
    """Read the widths of RetinaNet."""
    convs = [k for k in shapes if re.fullmatch(r"bbox_head\.cls_convs\.\d+\.conv\.weight", k)]
    return {
        "hidden_size": shape_of(shapes, "neck.lateral_convs.0.conv.weight", 4)[0],
        "num_convs": len(convs),
    }


def upernet_fields(shapes: Shapes, prefix: str = "") -> Fields:
    """Read the width of UPerNet."""
    return {"hidden_size": shape_of(shapes, f"{prefix}decode_head.bottleneck.conv.weight", 4)[0]}


def siamese_unet_fields(shapes: Shapes) -> Fields:
    """Read the widths of the UNet decoder."""
    widths: list[int] = []
    while f"decode_head.blocks.{len(widths)}.conv1.0.weight" in shapes:
        key = f"decode_head.blocks.{len(widths)}.conv1.0.weight"
        widths.append(shape_of(shapes, key, 4)[0])
    return {"hidden_sizes": widths}


def count_classes(shapes: Shapes) -> tuple[int, str]:
    """Return K of a finetuned model and the key that tells it.

    Raises:
        ValueError: the head is not among the known ones, or its shapes contradict each other.
    """
    regressor = "bbox_head.retina_reg.weight"
    if regressor in shapes:
        key, numbers = "bbox_head.retina_cls.weight", shape_of(shapes, regressor, 4)[0]
        return 4 * shape_of(shapes, key, 4)[0] // numbers, key  # four numbers for each anchor
    key = "roi_head.bbox_head.fc_cls.weight"
    if key in shapes:
        return shape_of(shapes, key, 2)[0] - 1, key  # background is the last
    for key, num_axes in (("decode_head.conv_seg.weight", 4), ("head.fc.weight", 2)):
        if key in shapes:
            return shape_of(shapes, key, num_axes)[0], key
    raise ValueError("no classifier among the keys")


def label_fields(num_labels: int, key: str, names: Sequence[str] | None, source: str) -> Fields:
    """Name the classes of a head.

    Args:
        num_labels: K of the head.
        key: that told it, for the message.
        names: of the data set, or None.
        source: of the names, for the message.

    Raises:
        ValueError: the data set has another number of classes.
    """
    if names is None:
        return {"num_labels": num_labels}
    if len(names) != num_labels:
        raise ValueError(
            f"{key} is a head for {num_labels} classes, but {source} has {len(names)}: "
            f"{', '.join(names[:4])}, ..."
        )
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }


def classes_of(dataset: str) -> list[str]:
    """Return the classes of a data set by its name.

    Raises:
        ValueError: there is no such name.
    """
    name = dataset.lower().replace("-", "_")
    if name not in DATASET_CLASSES:
        raise ValueError(f"no data set {dataset!r}; known: {', '.join(sorted(DATASET_CLASSES))}")
    return DATASET_CLASSES[name]


def pretraining_fields(shapes: Shapes, dataset: str | None) -> tuple[Fields, dict[str, str]]:
    """Read tasks, data sets and decoder widths of the multi-task model.

    Args:
        shapes: of all keys.
        dataset: names of the original's data sets 1, 2, 3, with commas; by default told by their
            numbers of classes.

    Returns:
        Fields of the config, and what was assumed.
    """
    counts = _pretraining_counts(shapes)
    names, assumed = _pretraining_names(counts, dataset)
    class_names = {}
    for name, (num_classes, key) in zip(names, counts.values(), strict=True):
        known = DATASET_CLASSES.get(name)
        if known is None:
            known = [f"LABEL_{i}" for i in range(num_classes)]
        label_fields(num_classes, key, known, name)
        class_names[name] = list(known)
    tasks = {"ss": "semsegdecoder.", "is": "inssegdecoder.", "rd": "rotdetdecoder."}
    found = [task for task, prefix in tasks.items() if any(k.startswith(prefix) for k in shapes)]
    fields: Fields = {
        "class_names": class_names,
        "datasets": names,
        "dataset_tasks": {name: list(found) for name in names},
    }
    if "ss" in found:
        fields["semantic_config"] = upernet_fields(shapes, tasks["ss"])
    if "is" in found:
        fields["instance_config"] = two_stage_fields(shapes, tasks["is"])
    if "rd" in found:
        fields["rotated_config"] = two_stage_fields(shapes, tasks["rd"])
    return fields, assumed


def _pretraining_counts(shapes: Shapes) -> dict[int, tuple[int, str]]:
    """Return K of each numbered data set and the key that tells it."""
    pattern = r"(?:rotdetroiboxhead_fc_cls|inssegroiboxhead_fc_cls|semseghead_)(\d)(?:\.1)?\.weight"
    counts = {}
    for key in sorted(shapes):
        match = re.fullmatch(pattern, key)
        if match:
            num_axes = 4 if key.startswith("semseg") else 2
            num_classes = shape_of(shapes, key, num_axes)[0] - 1  # all of them have a background
            counts[int(match[1])] = (num_classes, key)
    if not counts:
        raise ValueError("no classifier of a data set, such as semseghead_1.1.weight")
    if sorted(counts) != list(range(1, len(counts) + 1)):
        raise ValueError(f"classifiers of the data sets {sorted(counts)}, expected 1, 2, ...")
    return dict(sorted(counts.items()))


def _pretraining_names(
    counts: dict[int, tuple[int, str]], dataset: str | None
) -> tuple[list[str], dict[str, str]]:
    if dataset is not None:
        names = [name.strip() for name in dataset.split(",")]
        for name in names:
            classes_of(name)
        if len(names) != len(counts):
            raise ValueError(f"the file has {len(counts)} data sets, --dataset names {len(names)}")
        return [name.lower().replace("-", "_") for name in names], {}
    names = [PRETRAINING_SETS.get(count, f"dataset{i}") for i, (count, _) in counts.items()]
    if len(set(names)) < len(names):
        names = [f"dataset{i}" for i in counts]
    return names, {"datasets": f"{', '.join(names)}, by their numbers of classes"}
