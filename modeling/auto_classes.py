"""Auto classes of tasks that transformers has none for.

As with its own, `from_pretrained` finds the model class by the type of the configuration.
"""

from collections import OrderedDict
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.auto_factory import (
    _BaseAutoModelClass,
    _LazyAutoMapping,
    auto_class_update,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES


class AutoModelForOrientedObjectDetection(_BaseAutoModelClass):
    """Load a model that finds objects as rotated boxes."""

    _model_mapping = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())  # type: ignore


AutoModelForOrientedObjectDetection = auto_class_update(  # type: ignore[misc]
    AutoModelForOrientedObjectDetection, head_doc="oriented object detection"
)


class AutoModelForChangeDetection(_BaseAutoModelClass):
    """Load a model that labels what changed between two images of a place."""

    _model_mapping = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())  # type: ignore


AutoModelForChangeDetection = auto_class_update(  # type: ignore[misc]
    AutoModelForChangeDetection, head_doc="change detection"
)


def register_model(
    auto_class: Any, config: type[PreTrainedConfig], model: type[PreTrainedModel]
) -> None:
    """Let an Auto class of transformers load a model, and its pipelines know it.

    The pipelines of objects and masks look into the table of names behind the Auto class, where
    `register` adds nothing, and log an error about every model that is not there.
    """
    auto_class.register(config, model, exist_ok=True)
    auto_class._model_mapping._model_mapping[config.model_type] = model.__name__
