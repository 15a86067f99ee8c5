"""Head of RetinaNet: every anchor is classified and refined at once.

Two branches of convolutions, the same for all levels. Classes are independent (sigmoid); there is
no background class. B batch, A anchors per cell, N anchors of all levels, L levels, K classes,
G objects, H W map size.

Source: Lin et al. 2017 (RetinaNet), sections 3 and 4 (original spec 3.2, 7.2-7.5, 7.7).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torchvision.ops import batched_nms, box_iou, sigmoid_focal_loss

from .head_box import DetectionSelection
from .layers_conv import KaimingConv2d
from .ops_anchors import AnchorGenerator, anchors_valid, order_by_anchor
from .ops_box_coders import DeltaXYWHCoder
from .ops_matching import NEGATIVE, match_boxes


@dataclass(frozen=True)
class AnchorLabelling:
    """Say what anchors train as, and how they count.

    Attributes:
        positive_threshold: IoU from which an anchor is an object.
        negative_threshold: IoU below which an anchor is background.
        min_positive: IoU from which the best anchors of an object are its own at any rate.
        pad_divisor: Anchors of cells beyond the image, padded to a multiple of this, do not train;
            0 = all cells do.
        alpha: Weight of objects against background.
        gamma: How much less easy anchors count.
    """

    positive_threshold: float = 0.5
    negative_threshold: float = 0.4
    min_positive: float = 0.0
    pad_divisor: int = 32
    alpha: float = 0.25
    gamma: float = 2.0


@dataclass
class AnchorPredictions:
    """Hold what the head says of every anchor.

    Attributes:
        class_logits: L tensors (B, N_l, K).
        box_deltas: L tensors (B, N_l, 4).
        anchors: L tensors (N_l, 4), xyxy pixels.
        feature_sizes: L pairs (height, width) of the maps.
    """

    class_logits: list[torch.Tensor]
    box_deltas: list[torch.Tensor]
    anchors: list[torch.Tensor]
    feature_sizes: list[tuple[int, int]]


class RetinaNetHead(nn.Module):
    """Detect horizontal boxes on the maps of a pyramid.

    Args:
        hidden_size: Channels of the maps and of every layer.
        num_labels: Classes K.
        num_convs: 3 x 3 convolutions of each branch before its last.
        anchors: Anchor shapes and strides, one stride a level.
        labelling: What anchors train as.
        selection: Which boxes are detections.
        pre_nms: Scores of a level, over anchors and classes, before NMS.
    """

    coder = DeltaXYWHCoder()

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        num_convs: int,
        *,
        anchors: AnchorGenerator,
        labelling: AnchorLabelling,
        selection: DetectionSelection,
        pre_nms: int,
    ) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.anchors = anchors
        self.labelling = labelling
        self.selection = selection
        self.pre_nms = pre_nms
        self.class_convs = _branch(hidden_size, num_convs)
        self.box_convs = _branch(hidden_size, num_convs)
        num_anchors = anchors.num_anchors
        self.classifier = nn.Conv2d(hidden_size, num_anchors * num_labels, 3, padding=1)
        self.regressor = nn.Conv2d(hidden_size, num_anchors * 4, 3, padding=1)

    def forward(self, features: list[torch.Tensor]) -> AnchorPredictions:
        """Classify and refine all anchors of the pyramid maps (B, C, H_l, W_l)."""
        logits, deltas = [], []
        for feature in features:
            class_hidden = box_hidden = feature
            for conv in self.class_convs:
                class_hidden = nn.functional.relu(conv(class_hidden))
            for conv in self.box_convs:
                box_hidden = nn.functional.relu(conv(box_hidden))
            logits.append(order_by_anchor(self.classifier(class_hidden), self.num_labels))
            deltas.append(order_by_anchor(self.regressor(box_hidden), 4))
        sizes = [(feature.shape[-2], feature.shape[-1]) for feature in features]
        anchors = self.anchors.grid(sizes, features[0].device)
        return AnchorPredictions(logits, deltas, anchors, sizes)

    def loss(
        self,
        predictions: AnchorPredictions,
        gt_boxes: list[torch.Tensor],
        gt_labels: list[torch.Tensor],
        sizes: list[tuple[int, int]],
    ) -> dict[str, torch.Tensor]:
        """Compute focal and box loss over the anchors of all images.

        Args:
            predictions: Of B images.
            gt_boxes: B tensors (G, 4).
            gt_labels: B tensors (G,) int64.
            sizes: Content (height, width) of each image.

        Returns:
            `loss_class` and `loss_box` (L1), sums divided by the number of objects' anchors, where
            an image counts at least one (original spec 7.5).
        """
        logits = torch.cat(predictions.class_logits, dim=1).float()
        deltas = torch.cat(predictions.box_deltas, dim=1).float()
        anchors, rule = torch.cat(predictions.anchors), self.labelling
        # Sums start connected to the graph, so that no object and no anchor give an exact zero.
        class_loss, box_loss, num_positive = logits.sum() * 0, deltas.sum() * 0, 0
        for image, (boxes, labels, size) in enumerate(zip(gt_boxes, gt_labels, sizes, strict=True)):
            boxes = boxes.to(anchors)
            candidates, matches = self._match(anchors, boxes, size, predictions.feature_sizes)
            is_positive = matches >= 0
            positive, matched = candidates[is_positive], matches[is_positive]
            num_positive += max(len(positive), 1)
            used = candidates[is_positive | (matches == NEGATIVE)]
            targets = torch.zeros_like(logits[image])
            targets[positive, labels[matched]] = 1
            class_loss = class_loss + sigmoid_focal_loss(
                logits[image, used], targets[used], rule.alpha, rule.gamma, reduction="sum"
            )
            box_targets = self.coder.encode(anchors[positive], boxes[matched])
            box_loss = box_loss + nn.functional.l1_loss(
                deltas[image, positive], box_targets, reduction="sum"
            )
        num_positive = max(num_positive, 1)
        return {"loss_class": class_loss / num_positive, "loss_box": box_loss / num_positive}

    @torch.no_grad()
    def predict(
        self, predictions: AnchorPredictions, sizes: list[tuple[int, int]]
    ) -> list[dict[str, torch.Tensor]]:
        """Choose the detections of each image.

        Args:
            predictions: Of B images.
            sizes: Content (height, width) of each image, to which boxes are clipped.

        Returns:
            B dicts `scores` (n,), `labels` (n,) and `boxes` (n, 4), best first.
        """
        return [self._select(predictions, image, size) for image, size in enumerate(sizes)]

    def _select(
        self, predictions: AnchorPredictions, image: int, size: tuple[int, int]
    ) -> dict[str, torch.Tensor]:
        """Take the best scores of each level, decode, and suppress within each class."""
        rule = self.selection
        scores, labels, boxes = [], [], []
        levels = zip(
            predictions.class_logits, predictions.box_deltas, predictions.anchors, strict=True
        )
        for logits, deltas, anchors in levels:
            level_scores = logits[image].float().sigmoid()
            anchor, label = (level_scores > rule.score_threshold).nonzero(as_tuple=True)
            level_scores = level_scores[anchor, label]
            best, order = level_scores.topk(min(self.pre_nms, len(level_scores)))
            anchor = anchor[order]
            scores.append(best)
            labels.append(label[order])
            boxes.append(self.coder.decode(anchors[anchor], deltas[image, anchor].float(), size))
        all_scores, all_labels, all_boxes = torch.cat(scores), torch.cat(labels), torch.cat(boxes)
        solid = (all_boxes[:, 2:] > all_boxes[:, :2]).all(dim=1).nonzero().flatten()
        all_scores, all_labels, all_boxes = all_scores[solid], all_labels[solid], all_boxes[solid]
        keep = batched_nms(all_boxes, all_scores, all_labels, rule.nms_threshold)
        keep = keep[: rule.max_detections]
        return {"scores": all_scores[keep], "labels": all_labels[keep], "boxes": all_boxes[keep]}

    @torch.no_grad()
    def _match(
        self,
        anchors: torch.Tensor,
        boxes: torch.Tensor,
        size: tuple[int, int],
        feature_sizes: list[tuple[int, int]],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the indices of the anchors that may train, and their matches."""
        rule = self.labelling
        candidates = torch.arange(len(anchors), device=anchors.device)
        if rule.pad_divisor:
            valid = anchors_valid(
                feature_sizes,
                self.anchors.strides,
                size,
                num_anchors=self.anchors.num_anchors,
                pad_divisor=rule.pad_divisor,
                device=anchors.device,
            )
            candidates = candidates[valid]
        matches = match_boxes(
            box_iou(boxes, anchors[candidates]),
            rule.positive_threshold,
            rule.negative_threshold,
            rule.min_positive,
            True,
        )
        return candidates, matches


def _branch(hidden_size: int, num_convs: int) -> nn.ModuleList:
    return nn.ModuleList(
        KaimingConv2d(hidden_size, hidden_size, 3, padding=1) for _ in range(num_convs)
    )
