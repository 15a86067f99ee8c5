"""Box head of the R-CNN models: pool each region, two shared layers, classify and refine.

Everything that data sets share (pooling, two fully connected layers, matching, losses, selection)
is in the head; a `BoxClassifier` holds the two last layers of one data set. Background is the last
class. R regions, P positive regions, G objects, K classes, D deltas per box, C channels.

Source: Girshick 2015, section 2 (original spec 2.4, 7.4-7.7).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torchvision.ops import batched_nms, box_iou

from .ops_box_coders import DeltaXYWHCoder, DeltaXYWHTCoder
from .ops_matching import match_boxes, sample_balanced
from .ops_roi_align import multilevel_roi_align


@dataclass(frozen=True)
class RegionSampling:
    """Say which proposals train the head.

    Attributes:
        iou_threshold: IoU from which a proposal is an object; below it is background.
        match_low_quality: Whether the best proposals of an object above the threshold are its own
            even where another object overlaps them more.
        num_samples: Regions drawn in each image.
        positive_fraction: Largest share of objects among them.
    """

    iou_threshold: float = 0.5
    match_low_quality: bool = True
    num_samples: int = 512
    positive_fraction: float = 0.25


@dataclass(frozen=True)
class DetectionSelection:
    """Say which classified boxes are detections.

    Attributes:
        score_threshold: Class probability that a box must exceed.
        nms_threshold: IoU above which the lower score of a class goes.
        max_detections: Detections kept of an image.
    """

    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    max_detections: int = 100


@dataclass
class SampledRegions:
    """Hold the regions drawn in one image, objects first.

    Attributes:
        boxes: (R, 4) or (R, 5).
        matched: (P,) index of the object of each positive region.
        labels: (R,) int64 class of each region, -1 = background.
    """

    boxes: torch.Tensor
    matched: torch.Tensor
    labels: torch.Tensor

    @property
    def positive_boxes(self) -> torch.Tensor:
        """Regions that are objects, (P, 4) or (P, 5)."""
        return self.boxes[: len(self.matched)]


@dataclass
class BoxPredictions:
    """Hold what a classifier says of R regions.

    Attributes:
        class_logits: (R, K + 1), background last.
        box_deltas: (R, K, D), or (R, 1, D) where classes share one box.
    """

    class_logits: torch.Tensor
    box_deltas: torch.Tensor


class BoxClassifier(nn.Module):
    """Classify regions of one data set and regress their boxes.

    Args:
        hidden_size: Width of the region features.
        num_labels: Foreground classes K.
        num_deltas: Numbers that refine one box.
        class_agnostic: Whether all classes share one refined box.
    """

    def __init__(
        self, hidden_size: int, num_labels: int, *, num_deltas: int, class_agnostic: bool
    ) -> None:
        super().__init__()
        num_boxes = 1 if class_agnostic else num_labels
        self.num_deltas = num_deltas
        self.classifier = nn.Linear(hidden_size, num_labels + 1)
        self.regressor = nn.Linear(hidden_size, num_boxes * num_deltas)

    def forward(self, region_features: torch.Tensor) -> BoxPredictions:
        """Map region features (R, hidden_size) to class logits and box deltas."""
        deltas = self.regressor(region_features).unflatten(1, (-1, self.num_deltas))
        return BoxPredictions(self.classifier(region_features), deltas)


class BoxHead(nn.Module):
    """Pool horizontal regions and run the two layers that all data sets share.

    Args:
        in_channels: Channels of the pyramid maps.
        hidden_size: Width of both layers.
        strides: Pixels per cell of the pyramid maps that regions are pooled from.
        roi_size: Side of the pooled square, in cells.
        finest_scale: Regions with sides up to twice this many pixels use the finest map.
        sampling: Which proposals train.
        selection: Which boxes are detections.
        use_unit_target: Train boxes towards the constant 1, as the original does by mistake
            (original spec 6, quirk 7); only for comparison with its recordings.
    """

    coder: DeltaXYWHCoder | DeltaXYWHTCoder = DeltaXYWHCoder(stds=(0.1, 0.1, 0.2, 0.2))
    box_loss_beta = 0.0  # 0 = L1
    class_agnostic = False

    def __init__(
        self,
        in_channels: int,
        hidden_size: int,
        *,
        strides: list[int],
        roi_size: int,
        finest_scale: int,
        sampling: RegionSampling,
        selection: DetectionSelection,
        use_unit_target: bool = False,
    ) -> None:
        super().__init__()
        self.strides = list(strides)
        self.roi_size = roi_size
        self.finest_scale = finest_scale
        self.sampling = sampling
        self.selection = selection
        self.use_unit_target = use_unit_target
        self.fc1 = nn.Linear(in_channels * roi_size**2, hidden_size)
        self.fc2 = nn.Linear(hidden_size, hidden_size)

    def forward(self, features: list[torch.Tensor], proposals: list[torch.Tensor]) -> torch.Tensor:
        """Compute one vector for each region.

        Args:
            features: Pyramid maps (B, C, H_l, W_l), at least one for each stride.
            proposals: B tensors (R_i, 4) or (R_i, 5).

        Returns:
            (R, hidden_size), images one after the other.
        """
        rois = to_rois(proposals)
        maps = list(features[: len(self.strides)])
        pooled = self._pool(maps, rois).to(features[0].dtype).flatten(1)
        return nn.functional.relu(self.fc2(nn.functional.relu(self.fc1(pooled))))

    @torch.no_grad()
    def sample(
        self,
        proposals: list[torch.Tensor],
        gt_boxes: list[torch.Tensor],
        gt_labels: list[torch.Tensor],
    ) -> list[SampledRegions]:
        """Draw the regions that train, among proposals and the ground truth itself.

        Args:
            proposals: B tensors (P_i, 4) or (P_i, 5).
            gt_boxes: B tensors (G_i, 4) or (G_i, 5).
            gt_labels: B tensors (G_i,) int64.
        """
        rule = self.sampling
        samples = []
        for candidates, boxes, labels in zip(proposals, gt_boxes, gt_labels, strict=True):
            boxes = boxes.to(candidates)
            matches = match_boxes(
                self._iou(boxes, candidates),
                rule.iou_threshold,
                rule.iou_threshold,
                rule.iou_threshold,
                rule.match_low_quality,
            )
            # The objects themselves join after matching, each its own (original spec 7.4).
            own = torch.arange(len(boxes), device=matches.device)
            matches = torch.cat([own, matches])
            candidates = torch.cat([boxes, candidates])
            positive, negative = sample_balanced(matches, rule.num_samples, rule.positive_fraction)
            matched = matches[positive]
            sampled_labels = labels.new_full((len(positive) + len(negative),), -1)
            sampled_labels[: len(positive)] = labels[matched]
            samples.append(
                SampledRegions(candidates[torch.cat([positive, negative])], matched, sampled_labels)
            )
        return samples

    def loss(
        self,
        predictions: BoxPredictions,
        samples: list[SampledRegions],
        gt_boxes: list[torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Compute classification and box loss over the sampled regions of a group of images.

        Returns:
            `loss_box_class`, a mean over all regions, and `loss_box_reg`, a sum over objects
            divided by the number of all regions (original spec 7.5).
        """
        logits, deltas = predictions.class_logits.float(), predictions.box_deltas.float()
        labels = torch.cat([sample.labels for sample in samples])
        count = max(len(labels), 1)
        background = logits.shape[1] - 1
        targets = torch.where(labels < 0, background, labels)
        class_loss = nn.functional.cross_entropy(logits, targets, reduction="sum") / count

        positive = (labels >= 0).nonzero().flatten()
        column = labels[positive] if deltas.shape[1] > 1 else torch.zeros_like(positive)
        chosen = deltas[positive, column]
        box_targets = torch.cat(
            [
                self.coder.encode(sample.positive_boxes, boxes[sample.matched].float())
                for sample, boxes in zip(samples, gt_boxes, strict=True)
            ]
        )
        if self.use_unit_target:
            box_targets = torch.ones_like(box_targets)
        box_loss = nn.functional.smooth_l1_loss(
            chosen, box_targets, beta=self.box_loss_beta, reduction="sum"
        )
        return {"loss_box_class": class_loss, "loss_box_reg": box_loss / count}

    @torch.no_grad()
    def predict(
        self, predictions: BoxPredictions, proposals: torch.Tensor, size: tuple[int, int]
    ) -> dict[str, torch.Tensor]:
        """Choose the detections of one image.

        Args:
            predictions: Of its R proposals.
            proposals: (R, 4) or (R, 5).
            size: Content (height, width), to which boxes are clipped.

        Returns:
            `scores` (n,), `labels` (n,) and `boxes` (n, 4) or (n, 5), best first.
        """
        scores = predictions.class_logits.float().softmax(dim=1)[:, :-1]
        region, label = (scores > self.selection.score_threshold).nonzero(as_tuple=True)
        column = label if predictions.box_deltas.shape[1] > 1 else torch.zeros_like(label)
        deltas = predictions.box_deltas[region, column].float()
        boxes = self.coder.decode(proposals[region], deltas, size)
        scores = scores[region, label]
        keep = self._nms(boxes, scores, label)[: self.selection.max_detections]
        return {"scores": scores[keep], "labels": label[keep], "boxes": boxes[keep]}

    def _pool(self, features: list[torch.Tensor], rois: torch.Tensor) -> torch.Tensor:
        return multilevel_roi_align(
            features, rois, self.roi_size, strides=self.strides, finest_scale=self.finest_scale
        )

    def _iou(self, boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
        return box_iou(boxes1, boxes2)

    def _nms(self, boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return batched_nms(boxes, scores, labels, self.selection.nms_threshold)


def to_rois(boxes: list[torch.Tensor]) -> torch.Tensor:
    """Put the image number before each box: B tensors (R_i, D) become (R, 1 + D)."""
    return torch.cat(
        [torch.cat([b.new_full((len(b), 1), i), b], dim=1) for i, b in enumerate(boxes)]
    )
