"""Metrics that work offline: accumulators in numpy, and `evaluate.Metric` shells over them.

The shells are imported when asked for, because importing evaluate takes seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mtp_hf.metrics.classification import ClassificationAccumulator
from mtp_hf.metrics.coco_map import CocoMapAccumulator
from mtp_hf.metrics.pretraining import PretrainingEvaluator
from mtp_hf.metrics.rotated_map import RotatedMapAccumulator
from mtp_hf.metrics.segmentation import SegmentationAccumulator
from mtp_hf.metrics.tables import flatten_metrics, format_table

if TYPE_CHECKING:
    from mtp_hf.metrics.evaluate_metrics import (
        ChangeMetric,
        ClassificationMetric,
        CocoMapMetric,
        RotatedMapMetric,
        SegmentationMetric,
    )

__all__ = [
    "ChangeMetric",
    "ClassificationAccumulator",
    "ClassificationMetric",
    "CocoMapAccumulator",
    "CocoMapMetric",
    "PretrainingEvaluator",
    "RotatedMapAccumulator",
    "RotatedMapMetric",
    "SegmentationAccumulator",
    "SegmentationMetric",
    "flatten_metrics",
    "format_table",
]


def __getattr__(name: str) -> Any:
    if name.endswith("Metric") and name in __all__:
        return getattr(importlib.import_module("mtp_hf.metrics.evaluate_metrics"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
