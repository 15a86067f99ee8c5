"""Multi-task pretraining: one backbone, three decoders, one classifier for each set and task.

A batch mixes images of any number of data sets; the backbone sees it once, the two-stage decoders
see it once, the semantic decoder sees each set on its own, because its batch norms must not mix
sets. B images, L levels, K foreground classes of a set.

Source: Wang et al. 2024 (MTP), section III; original spec 2.1-2.7.
"""

from typing import Any

import torch
from torch import nn
from transformers import AutoModelForPreTraining, PreTrainedModel

from .backbones import build_backbone
from .configuration_mtp import MTPPreTrainingConfig
from .decoder_two_stage import build_two_stage_decoder
from .head_upernet import SegmentationClassifier, UPerNetDecoder
from .image_sizes import Size, Sizes, read_size, read_sizes
from .layers_initialization import init_layer
from .modeling_outputs import MTPPreTrainingOutput
from .ops_boxes import rescale_boxes
from .ops_label_maps import resize_logits
from .ops_masks import paste_masks
from .ops_rotated_boxes import rescale_rotated_boxes

Labels = list[dict]
# Labels that each detection task reads, as the two-stage decoder names them.
_TARGET_KEYS = {
    "is": {"boxes": "boxes", "labels": "class_labels", "masks": "instance_masks"},
    "rd": {"boxes": "rotated_boxes", "labels": "rotated_class_labels"},
}


class MTPForPreTraining(PreTrainedModel):
    """Pretrain a backbone on semantic, instance and rotated labels of several data sets at once.

    Args:
        config: Backbone, decoders, classes and tasks.
    """

    config: MTPPreTrainingConfig
    decoders: Any  # nn.ModuleDict: task -> decoder
    classifiers: Any  # nn.ModuleDict: task -> data set -> last layers
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["ViTRVSABlock"]

    def __init__(self, config: MTPPreTrainingConfig) -> None:
        super().__init__(config)
        self.backbone = build_backbone(config)
        channels = list(self.backbone.channels)
        tasks = {task for tasks in config.dataset_tasks.values() for task in tasks}
        self.decoders = nn.ModuleDict()
        if "ss" in tasks:
            semantic = config.semantic_config
            self.decoders["ss"] = UPerNetDecoder(
                channels, semantic.hidden_size, list(semantic.pool_scales)
            )
        if "is" in tasks:
            self.decoders["is"] = build_two_stage_decoder(
                config.instance_config, channels, use_unit_box_target=config.original_losses
            )
        if "rd" in tasks:
            self.decoders["rd"] = build_two_stage_decoder(config.rotated_config, channels)
        self.classifiers = nn.ModuleDict(
            {task: self._build_classifiers(task) for task in self.decoders}
        )
        self.post_init()

    def forward(
        self, pixel_values: torch.Tensor, labels: Labels | None = None, **kwargs: object
    ) -> MTPPreTrainingOutput:
        """Compute the losses of a mixed batch.

        Args:
            pixel_values: (B, 3, H, W) float, normalised, zero outside each image's content.
            labels: B dicts with `dataset` and the annotations of that set's tasks:
                `semantic_labels` (H, W) int64, 0 = background, 255 = ignore; `boxes` (N, 4) xyxy,
                `class_labels` (N,), `instance_masks` (N, H, W) bool; `rotated_boxes` (M, 5),
                `rotated_class_labels` (M,); and `size`, the content (height, width), by default
                the whole input.
            kwargs: Ignored; trainers pass `num_items_in_batch` and the like.

        Returns:
            Losses by name and their sum; without labels only the backbone maps.

        Raises:
            ValueError: An image has an unknown data set or lacks an annotation of its tasks.
        """
        features = self.backbone(pixel_values).feature_maps
        if labels is None:
            return MTPPreTrainingOutput(feature_maps=features)
        if len(labels) != len(pixel_values):
            raise ValueError(f"{len(pixel_values)} images but {len(labels)} labels")
        padded_size = read_size(pixel_values.shape[-2:])
        losses: dict[str, torch.Tensor] = {}
        for task in self.decoders:
            groups = self._groups([label["dataset"] for label in labels], task)
            if not groups:
                continue
            if task == "ss":
                found = self._semantic_losses(features, labels, groups)
            else:
                found = self._detection_losses(task, features, labels, groups, padded_size)
            for dataset, parts in found.items():
                losses.update({f"{dataset}/{task}/{name}": x for name, x in parts.items()})
        loss = torch.stack(list(losses.values())).sum()
        return MTPPreTrainingOutput(loss=loss, losses=losses, feature_maps=features)

    @torch.no_grad()
    def predict(
        self,
        pixel_values: torch.Tensor,
        datasets: str | list[str],
        sizes: Sizes | None = None,
        target_sizes: Sizes | None = None,
    ) -> list[dict[str, dict[str, torch.Tensor]]]:
        """Predict every task of the data set named for each image.

        Args:
            pixel_values: (B, 3, H, W) float, normalised.
            datasets: Data set whose classes are predicted, one for all images or one for each.
            sizes: Content (height, width) in the padded input; default: the whole input.
            target_sizes: (height, width) of the original images; default: `sizes`.

        Returns:
            B dicts task -> prediction. `ss`: `semantic_map` (h, w) int64, 0 = background. `is`:
            `scores` (n,), `labels` (n,), `boxes` (n, 4), `masks` (n, h, w) bool. `rd`: `scores`,
            `labels`, `rotated_boxes` (n, 5). In pixels of the target size, best first.
        """
        names = [datasets] * len(pixel_values) if isinstance(datasets, str) else list(datasets)
        padded_size = read_size(pixel_values.shape[-2:])
        contents = read_sizes(sizes, [padded_size] * len(names))
        targets = read_sizes(target_sizes, contents, "target_sizes")
        features = self.backbone(pixel_values).feature_maps
        predictions: list[dict] = [{} for _ in names]
        for task, decoder in self.decoders.items():
            groups = self._groups(names, task)
            if not groups:
                continue
            if task == "ss":
                found = self._semantic_maps(features, groups, padded_size, contents, targets)
            else:
                found = decoder.predict(
                    features, contents, groups=groups, classifiers=self.classifiers[task]
                )
                convert = self._instances if task == "is" else _rotated_objects
                found = {
                    i: convert(found[i], contents[i], targets[i])
                    for images in groups.values()
                    for i in images
                }
            for image, prediction in found.items():
                predictions[image][task] = prediction
        return predictions

    def _build_classifiers(self, task: str) -> nn.ModuleDict:
        """Make the last layers of a task for each data set that has it."""
        datasets = [name for name in self.config.datasets if self._has(name, task)]
        counts = {name: len(self.config.class_names[name]) for name in datasets}
        if task == "ss":
            semantic = self.config.semantic_config
            return nn.ModuleDict(
                {
                    # One class more than foreground: background is class 0.
                    name: SegmentationClassifier(semantic.hidden_size, count + 1, semantic.dropout)
                    for name, count in counts.items()
                }
            )
        decoder = self.decoders[task]
        return nn.ModuleDict({n: decoder.build_classifier(count) for n, count in counts.items()})

    def _has(self, dataset: str, task: str) -> bool:
        return task in self.config.dataset_tasks[dataset]

    def _groups(self, datasets: list[str], task: str) -> dict[str, list[int]]:
        """Group the images that have a task by data set, in the order of the configuration."""
        unknown = sorted(set(datasets) - set(self.config.class_names))
        if unknown:
            raise ValueError(
                f"unknown data set {', '.join(unknown)}; known: "
                f"{', '.join(self.config.class_names)}"
            )
        groups = {
            name: [i for i, dataset in enumerate(datasets) if dataset == name]
            for name in self.config.datasets
            if self._has(name, task)
        }
        return {name: images for name, images in groups.items() if images}

    def _semantic_losses(
        self, features: tuple[torch.Tensor, ...], labels: Labels, groups: dict[str, list[int]]
    ) -> dict[str, dict[str, torch.Tensor]]:
        losses = {}
        for dataset, images in groups.items():
            maps = torch.stack([_annotation(labels[i], "semantic_labels") for i in images])
            if self.config.original_losses:
                # Kept (quirk 8): the original pads the images to the fixed size but the maps only
                # to the next multiple of 32, and squeezes the logits of the whole canvas onto them.
                sizes = [read_size(labels[i].get("size", maps.shape[-2:])) for i in images]
                height = -(-max(size[0] for size in sizes) // 32) * 32
                width = -(-max(size[1] for size in sizes) // 32) * 32
                maps = maps[:, :height, :width]
            classifier = self.classifiers["ss"][dataset]
            logits = classifier(self.decoders["ss"](_take(features, images)))
            losses[dataset] = classifier.loss(logits, maps)
        return losses

    def _detection_losses(
        self,
        task: str,
        features: tuple[torch.Tensor, ...],
        labels: Labels,
        groups: dict[str, list[int]],
        padded_size: Size,
    ) -> dict[str, dict[str, torch.Tensor]]:
        used = sorted(i for images in groups.values() for i in images)
        place = {image: i for i, image in enumerate(used)}
        targets = [
            {
                "size": read_size(labels[i].get("size", padded_size)),
                **{key: _annotation(labels[i], name) for key, name in _TARGET_KEYS[task].items()},
            }
            for i in used
        ]
        return self.decoders[task].loss(
            _take(features, used),
            targets,
            groups={name: [place[i] for i in images] for name, images in groups.items()},
            classifiers=self.classifiers[task],
        )

    def _semantic_maps(
        self,
        features: tuple[torch.Tensor, ...],
        groups: dict[str, list[int]],
        padded_size: Size,
        sizes: list[Size],
        target_sizes: list[Size],
    ) -> dict[int, dict[str, torch.Tensor]]:
        found: dict[int, dict[str, torch.Tensor]] = {}
        for dataset, images in groups.items():
            classifier = self.classifiers["ss"][dataset]
            logits = classifier(self.decoders["ss"](_take(features, images)))
            resized = resize_logits(
                logits,
                padded_size,
                [sizes[i] for i in images],
                [target_sizes[i] for i in images],
            )
            for image, each in zip(images, resized, strict=True):
                found[image] = {"semantic_map": each.argmax(dim=0)}
        return found

    def _instances(
        self, found: dict[str, torch.Tensor], size: Size, target_size: Size
    ) -> dict[str, torch.Tensor]:
        boxes = rescale_boxes(found["boxes"], size, target_size)
        threshold = self.config.instance_config.mask_threshold
        return {
            "scores": found["scores"],
            "labels": found["labels"],
            "boxes": boxes,
            "masks": paste_masks(found["mask_probs"], boxes, target_size, threshold),
        }

    def _init_weights(self, module: nn.Module) -> None:
        """Start the layers outside the backbone as the original does, last layers included.

        Kept (quirk 27): the original's own initialisers of the heads never run in pretraining.
        """
        init_layer(module)


def _rotated_objects(
    found: dict[str, torch.Tensor], size: Size, target_size: Size
) -> dict[str, torch.Tensor]:
    boxes = rescale_rotated_boxes(found["boxes"], size, target_size)
    return {"scores": found["scores"], "labels": found["labels"], "rotated_boxes": boxes}


def _annotation(label: dict, name: str) -> torch.Tensor:
    if name not in label:
        raise ValueError(
            f"image {label.get('image_id')} of {label['dataset']} lacks {name}, "
            "which the tasks of this data set need"
        )
    return label[name]


def _take(features: tuple[torch.Tensor, ...], images: list[int]) -> tuple[torch.Tensor, ...]:
    """Select images of each map, without a copy where they are neighbours."""
    first, last = images[0], images[-1]
    if images == list(range(first, last + 1)):
        return tuple(x[first : last + 1] for x in features)
    return tuple(x[images] for x in features)


AutoModelForPreTraining.register(MTPPreTrainingConfig, MTPForPreTraining, exist_ok=True)
