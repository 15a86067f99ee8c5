"""Configuration of multi-task pretraining: one backbone, three decoders, any number of data sets.

Source: Wang et al. 2024 (MTP), section III; original spec 2.1.
"""

import dataclasses
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_checks import check_map_strides, reject_unknown_keys
from .configuration_internimage import InternImageConfig  # noqa: F401  (registers the backbone)
from .configuration_mask_rcnn import MaskRCNNConfig
from .configuration_oriented_rcnn import OrientedRCNNConfig
from .configuration_upernet_rs import UperNetRSConfig
from .configuration_vit_rvsa import ViTRVSAConfig  # noqa: F401  (registers the default backbone)

TASKS = ("ss", "is", "rd")


@strict
class MTPPreTrainingConfig(PreTrainedConfig):
    """Configure `MTPForPreTraining`.

    Args:
        backbone_config: Any backbone with maps at strides 4, 8, 16 and 32.
        class_names: Foreground classes of each data set, in label order.
        datasets: Names of the data sets in the order in which they update shared statistics;
            default: that of `class_names`. (A saved configuration sorts the keys of its dicts.)
        dataset_tasks: Tasks of each data set, of `ss` (semantic segmentation), `is` (instance
            segmentation) and `rd` (rotated detection); default: all of them for every set.
        semantic_config: UPerNet decoder.
        instance_config: Mask R-CNN decoder.
        rotated_config: Oriented R-CNN decoder.
        original_losses: Repeat two mistakes of the original losses (instance boxes trained towards
            a constant; semantic maps not padded to the fixed size), to compare with recordings.
    """

    model_type = "mtp_pretraining"
    sub_configs_defaults = {
        "backbone_config": SubConfigSpec(config_class=AutoConfig, model_type="mtp_vit_rvsa"),
        "semantic_config": SubConfigSpec(config_class=UperNetRSConfig),
        "instance_config": SubConfigSpec(config_class=MaskRCNNConfig),
        "rotated_config": SubConfigSpec(config_class=OrientedRCNNConfig),
    }

    # Nested configurations come as dicts or configurations and are configurations afterwards.
    backbone_config: Any = None
    class_names: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    datasets: list[str] = dataclasses.field(default_factory=list)
    dataset_tasks: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    semantic_config: Any = None
    instance_config: Any = None
    rotated_config: Any = None
    original_losses: bool = False

    def __post_init__(self, **kwargs: object) -> None:
        reject_unknown_keys(self, kwargs)
        self.datasets = list(self.datasets or self.class_names)
        if not self.dataset_tasks:
            self.dataset_tasks = {name: list(TASKS) for name in self.class_names}
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Refuse data sets without classes or tasks, and names that cannot be module names."""
        named = (self.class_names, self.dataset_tasks, self.datasets)
        if len({frozenset(names) for names in named}) > 1:
            raise ValueError(
                "class_names, dataset_tasks and datasets must name the same data sets, found "
                + ", ".join(str(sorted(names)) for names in named)
            )
        self._check_strides()
        for name, tasks in self.dataset_tasks.items():
            if not name.isidentifier():
                raise ValueError(
                    f"data set name {name!r}: expected letters, digits and underscores"
                )
            if not tasks or set(tasks) - set(TASKS) or len(set(tasks)) != len(tasks):
                raise ValueError(f"tasks of {name}: expected some of {TASKS}, found {tasks}")
            if not self.class_names[name]:
                raise ValueError(f"data set {name} has no class")

    def _check_strides(self) -> None:
        """Refuse a backbone whose maps are not where the detection decoders look for them."""
        used = {task for tasks in self.dataset_tasks.values() for task in tasks}
        for task, config in (("is", self.instance_config), ("rd", self.rotated_config)):
            if task in used:
                check_map_strides(self.backbone_config, config.strides, f"task {task}")


AutoConfig.register("mtp_pretraining", MTPPreTrainingConfig, exist_ok=True)
