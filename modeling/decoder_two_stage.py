"""Two-stage decoders: pyramid, proposals, regions, and the layers of each data set.

One decoder serves all data sets: pyramid, proposal network and region layers run once over the
whole batch; classifiers and losses run for each set. Faster, Mask and Oriented R-CNN are the same
wiring with other heads. B images, `groups` = indices of the images of each data set.

Source: He et al. 2017; Xie et al. 2021; sharing over data sets: MTP, section III
(original spec 2.1, 2.2).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from .configuration_two_stage import TwoStageConfig
from .head_box import (
    BoxClassifier,
    BoxHead,
    DetectionSelection,
    RegionSampling,
    SampledRegions,
)
from .head_mask import MaskHead
from .head_oriented_box import OrientedBoxHead
from .head_rpn import AnchorMatching, OrientedRPNHead, ProposalSelection, RPNHead
from .neck_fpn import FeaturePyramidNetwork
from .ops_anchors import AnchorGenerator

Losses = dict[str, torch.Tensor]


class TwoStageClassifier(nn.Module):
    """Hold the last layers of one data set: boxes, and masks where the decoder has them."""

    def __init__(self, box: BoxClassifier, mask: nn.Conv2d | None = None) -> None:
        super().__init__()
        self.box = box
        if mask is not None:
            self.mask = mask


class TwoStageDecoder(nn.Module):
    """Detect objects in backbone maps, with or without masks.

    Args:
        neck: Pyramid.
        rpn_head: Proposal network.
        box_head: Region layers for boxes.
        mask_head: Region layers for masks, or None.
    """

    def __init__(
        self,
        neck: FeaturePyramidNetwork,
        rpn_head: RPNHead,
        box_head: BoxHead,
        mask_head: MaskHead | None = None,
    ) -> None:
        super().__init__()
        self.neck = neck
        self.rpn_head = rpn_head
        self.box_head = box_head
        self.mask_head = mask_head

    def build_classifier(self, num_labels: int) -> TwoStageClassifier:
        """Make the last layers for a data set of `num_labels` foreground classes."""
        box = BoxClassifier(
            self.box_head.fc2.out_features,
            num_labels,
            num_deltas=self.box_head.coder.num_deltas,
            class_agnostic=self.box_head.class_agnostic,
        )
        if self.mask_head is None:
            return TwoStageClassifier(box)
        return TwoStageClassifier(
            box, nn.Conv2d(self.mask_head.upsample.out_channels, num_labels, 1)
        )

    def loss(
        self,
        features: tuple[torch.Tensor, ...],
        targets: list[dict],
        *,
        groups: dict[str, list[int]],
        classifiers: Mapping[str, TwoStageClassifier],
    ) -> dict[str, Losses]:
        """Compute the losses of each data set.

        Args:
            features: Backbone maps of B images.
            targets: B dicts with `size` (height, width), `boxes` (G, 4) or (G, 5), `labels` (G,)
                and, where the decoder has masks, `masks` (G, H, W) bool.
            groups: Image indices of each data set.
            classifiers: The last layers of each data set, an `nn.ModuleDict`.

        Returns:
            Data set -> name -> scalar.
        """
        boxes = [target["boxes"] for target in targets]
        sizes = [target["size"] for target in targets]
        pyramid = self.neck(features)
        anchors = self.rpn_head(pyramid)
        proposals = self.rpn_head.propose(anchors, sizes)
        samples = self.box_head.sample(proposals, boxes, [target["labels"] for target in targets])
        counts = [len(sample.boxes) for sample in samples]
        regions = self.box_head(pyramid, [sample.boxes for sample in samples]).split(counts)
        masks = self._mask_features(pyramid, samples)

        losses: dict[str, Losses] = {}
        for dataset, images in groups.items():
            pick = _picker(images)
            classifier = classifiers[dataset]
            group_boxes, group_samples = pick(boxes), pick(samples)
            predictions = classifier.box(torch.cat(pick(regions)))
            losses[dataset] = {
                **self.rpn_head.loss(anchors.select(images), group_boxes, pick(sizes)),
                **self.box_head.loss(predictions, group_samples, group_boxes),
            }
            if self.mask_head is not None:
                gt_masks = [target["masks"] for target in pick(targets)]
                logits = classifier.mask(torch.cat(pick(masks)))
                losses[dataset].update(self.mask_head.loss(logits, group_samples, gt_masks))
        return losses

    @torch.no_grad()
    def predict(
        self,
        features: tuple[torch.Tensor, ...],
        sizes: list[tuple[int, int]],
        *,
        groups: dict[str, list[int]],
        classifiers: Mapping[str, TwoStageClassifier],
    ) -> list[dict[str, torch.Tensor]]:
        """Detect objects.

        Returns:
            B dicts `scores`, `labels`, `boxes` in pixels of the network input and, with a mask
            head, `mask_probs` (n, side, side); images in no group give an empty dict.
        """
        pyramid = self.neck(features)
        proposals = self.rpn_head.propose(self.rpn_head(pyramid), sizes)
        regions = self.box_head(pyramid, proposals).split([len(p) for p in proposals])
        detections: list[dict[str, torch.Tensor]] = [{} for _ in sizes]
        for dataset, images in groups.items():
            for image in images:
                predictions = classifiers[dataset].box(regions[image])
                detections[image] = self.box_head.predict(
                    predictions, proposals[image], sizes[image]
                )
        if self.mask_head is not None:
            self._add_masks(pyramid, detections, groups, classifiers)
        return detections

    def _mask_features(
        self, pyramid: list[torch.Tensor], samples: list[SampledRegions]
    ) -> tuple[torch.Tensor, ...]:
        if self.mask_head is None:
            return ()
        regions = [sample.positive_boxes for sample in samples]
        return self.mask_head(pyramid, regions).split([len(region) for region in regions])

    def _add_masks(
        self,
        pyramid: list[torch.Tensor],
        detections: list[dict[str, torch.Tensor]],
        groups: dict[str, list[int]],
        classifiers: Mapping[str, TwoStageClassifier],
    ) -> None:
        assert self.mask_head is not None
        empty = pyramid[0].new_zeros((0, 4), dtype=torch.float32)
        regions = [found.get("boxes", empty) for found in detections]
        masks = self.mask_head(pyramid, regions).split([len(region) for region in regions])
        for dataset, images in groups.items():
            for image in images:
                found = detections[image]
                logits = classifiers[dataset].mask(masks[image])
                found["mask_probs"] = self.mask_head.predict(logits, found["labels"])


def _picker(images: list[int]) -> Callable[[list | tuple], list]:
    return lambda values: [values[i] for i in images]


# Heads of each architecture: proposal network, box head, and whether it has masks.
_HEADS = {
    "mtp_faster_rcnn": (RPNHead, BoxHead, False),
    "mtp_mask_rcnn": (RPNHead, BoxHead, True),
    "mtp_oriented_rcnn": (OrientedRPNHead, OrientedBoxHead, False),
}


def build_two_stage_decoder(
    config: TwoStageConfig, channels: list[int], *, use_unit_box_target: bool = False
) -> TwoStageDecoder:
    """Make the decoder that a configuration describes.

    Args:
        config: Of Faster, Mask or Oriented R-CNN.
        channels: Channels of the backbone maps, finest first.
        use_unit_box_target: See `BoxHead`.
    """
    rpn_class, box_class, has_masks = _HEADS[config.model_type]
    strides = list(config.strides)
    width = config.hidden_size
    rpn_head = rpn_class(
        width,
        AnchorGenerator(
            (*strides, 2 * strides[-1]), tuple(config.anchor_scales), tuple(config.anchor_ratios)
        ),
        matching=AnchorMatching(
            positive_threshold=config.rpn_positive_iou,
            negative_threshold=config.rpn_negative_iou,
            min_positive=config.rpn_min_positive_iou,
            num_samples=config.rpn_num_samples,
            positive_fraction=config.rpn_positive_fraction,
            allowed_border=config.rpn_allowed_border,
            pad_divisor=config.rpn_pad_divisor,
        ),
        train_selection=ProposalSelection(
            config.train_pre_nms, config.train_post_nms, config.proposal_nms_iou
        ),
        test_selection=ProposalSelection(
            config.test_pre_nms, config.test_post_nms, config.proposal_nms_iou
        ),
    )
    pooling: dict[str, Any] = {"strides": strides, "finest_scale": config.roi_finest_scale}
    box_head = box_class(
        width,
        config.box_hidden_size,
        roi_size=config.roi_size,
        sampling=RegionSampling(
            config.box_iou,
            config.box_match_low_quality,
            config.box_num_samples,
            config.box_positive_fraction,
        ),
        selection=DetectionSelection(config.score_threshold, config.nms_iou, config.max_detections),
        use_unit_target=use_unit_box_target,
        **pooling,
    )
    mask_head = None
    if has_masks:
        mask_head = MaskHead(
            width,
            config.mask_hidden_size,
            config.mask_num_convs,
            roi_size=config.mask_roi_size,
            **pooling,
        )
    return TwoStageDecoder(FeaturePyramidNetwork(channels, width), rpn_head, box_head, mask_head)
