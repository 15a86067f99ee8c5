"""Region proposal networks: horizontal (Mask and Faster R-CNN) and oriented (Oriented R-CNN).

Both score every anchor and regress a box from it; they differ in the box coder, in how ground truth
meets anchors (itself, or the horizontal hull of a rotated box) and in which anchors may train.
B batch, A anchors per cell, N anchors of all levels, D deltas per anchor, L levels, G objects.

Source: Ren et al. 2015, section 3.1; Xie et al. 2021 (Oriented R-CNN), section 3.1 and eq. 1-3
(original spec 2.4, 2.5, 7.2-7.5).
"""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torchvision.ops import batched_nms, box_iou

from .ops_anchors import AnchorGenerator, anchors_inside, anchors_valid, order_by_anchor
from .ops_box_coders import DeltaXYWHCoder, MidpointOffsetCoder
from .ops_matching import match_boxes, sample_balanced
from .ops_rotated_boxes import rotated_boxes_to_boxes


@dataclass(frozen=True)
class AnchorMatching:
    """Say which anchors train, and as what.

    Attributes:
        positive_threshold: IoU from which an anchor is an object.
        negative_threshold: IoU below which an anchor is background.
        min_positive: IoU from which the best anchors of an object are its own at any rate.
        num_samples: Anchors drawn in each image.
        positive_fraction: Largest share of objects among them.
        allowed_border: Pixels by which an anchor may leave the image and still train; -1 = any.
        pad_divisor: Anchors of cells beyond the image, padded to a multiple of this, do not train;
            0 = all cells do.
    """

    positive_threshold: float = 0.7
    negative_threshold: float = 0.3
    min_positive: float = 0.3
    num_samples: int = 256
    positive_fraction: float = 0.5
    allowed_border: int = -1
    pad_divisor: int = 0


@dataclass(frozen=True)
class ProposalSelection:
    """Say how proposals are chosen: best scores of each level, NMS, best of all.

    Attributes:
        pre_nms: Boxes kept of each level before NMS.
        post_nms: Boxes kept of an image after NMS.
        nms_threshold: IoU above which the lower score goes.
    """

    pre_nms: int = 2000
    post_nms: int = 1000
    nms_threshold: float = 0.7


@dataclass
class RPNPredictions:
    """Hold what the network says of every anchor.

    Attributes:
        objectness_logits: L tensors (B, N_l).
        box_deltas: L tensors (B, N_l, D).
        anchors: L tensors (N_l, 4), xyxy pixels.
        feature_sizes: L pairs (height, width) of the maps.
    """

    objectness_logits: list[torch.Tensor]
    box_deltas: list[torch.Tensor]
    anchors: list[torch.Tensor]
    feature_sizes: list[tuple[int, int]]

    def select(self, images: list[int]) -> "RPNPredictions":
        """Keep the given images of the batch."""
        return replace(
            self,
            objectness_logits=[x[images] for x in self.objectness_logits],
            box_deltas=[x[images] for x in self.box_deltas],
        )


class RPNHead(nn.Module):
    """Propose horizontal boxes.

    Args:
        hidden_size: Channels of the pyramid maps and of the shared convolution.
        anchors: Anchor shapes and strides, one stride a level.
        matching: How anchors are labelled in training.
        train_selection: How proposals are chosen in training mode.
        test_selection: How proposals are chosen in evaluation mode.
    """

    coder: DeltaXYWHCoder | MidpointOffsetCoder = DeltaXYWHCoder()
    box_loss_beta = 0.0  # 0 = L1

    def __init__(
        self,
        hidden_size: int,
        anchors: AnchorGenerator,
        *,
        matching: AnchorMatching,
        train_selection: ProposalSelection,
        test_selection: ProposalSelection,
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.matching = matching
        self.train_selection = train_selection
        self.test_selection = test_selection
        num_deltas = anchors.num_anchors * self.coder.num_deltas
        self.conv = nn.Conv2d(hidden_size, hidden_size, 3, padding=1)
        self.objectness = nn.Conv2d(hidden_size, anchors.num_anchors, 1)
        self.regressor = nn.Conv2d(hidden_size, num_deltas, 1)

    def forward(self, features: list[torch.Tensor]) -> RPNPredictions:
        """Score and regress all anchors of the pyramid maps (B, C, H_l, W_l)."""
        logits, deltas = [], []
        for feature in features:
            hidden = nn.functional.relu(self.conv(feature))
            logits.append(order_by_anchor(self.objectness(hidden), 1).squeeze(-1))
            deltas.append(order_by_anchor(self.regressor(hidden), self.coder.num_deltas))
        sizes = [(feature.shape[-2], feature.shape[-1]) for feature in features]
        return RPNPredictions(logits, deltas, self.anchors.grid(sizes, features[0].device), sizes)

    def loss(
        self,
        predictions: RPNPredictions,
        gt_boxes: list[torch.Tensor],
        sizes: list[tuple[int, int]],
    ) -> dict[str, torch.Tensor]:
        """Compute objectness and box loss over the sampled anchors of a group of images.

        Args:
            predictions: Of these images.
            gt_boxes: Boxes of each image, (G, 4) or, for the oriented head, (G, 5).
            sizes: Content (height, width) of each image.

        Returns:
            `loss_rpn_objectness` and `loss_rpn_box`, divided by the number of sampled anchors,
            where an image counts at least one positive and one negative (original spec 7.5).
        """
        logits = torch.cat(predictions.objectness_logits, dim=1).float()
        deltas = torch.cat(predictions.box_deltas, dim=1).float()
        anchors, maps = torch.cat(predictions.anchors), predictions.feature_sizes
        # Sums start connected to the graph, so that no object and no anchor give an exact zero.
        objectness_loss, box_loss, num_samples = logits.sum() * 0, deltas.sum() * 0, 0
        for image, (boxes, size) in enumerate(zip(gt_boxes, sizes, strict=True)):
            positive, negative, matched = self._sample_anchors(anchors, maps, boxes, size)
            num_samples += max(len(positive), 1) + max(len(negative), 1)
            sampled = torch.cat([positive, negative])
            is_object = torch.zeros_like(sampled, dtype=logits.dtype)
            is_object[: len(positive)] = 1
            objectness_loss = objectness_loss + nn.functional.binary_cross_entropy_with_logits(
                logits[image, sampled], is_object, reduction="sum"
            )
            targets = self.coder.encode(anchors[positive], boxes[matched].float())
            box_loss = box_loss + nn.functional.smooth_l1_loss(
                deltas[image, positive], targets, beta=self.box_loss_beta, reduction="sum"
            )
        num_samples = max(num_samples, 1)
        return {
            "loss_rpn_objectness": objectness_loss / num_samples,
            "loss_rpn_box": box_loss / num_samples,
        }

    @torch.no_grad()
    def propose(
        self, predictions: RPNPredictions, sizes: list[tuple[int, int]]
    ) -> list[torch.Tensor]:
        """Choose proposals of each image.

        Args:
            predictions: Of all images.
            sizes: Content (height, width) of each image, to which horizontal boxes are clipped.

        Returns:
            B tensors (P, 4) xyxy, or (P, 5) rotated boxes, best first.
        """
        selection = self.train_selection if self.training else self.test_selection
        scores, deltas, anchors, levels = [], [], [], []
        for level, (level_logits, level_deltas, level_anchors) in enumerate(
            zip(
                predictions.objectness_logits,
                predictions.box_deltas,
                predictions.anchors,
                strict=True,
            )
        ):
            count = min(selection.pre_nms, level_logits.shape[1])
            best, index = level_logits.float().sigmoid().topk(count, dim=1)
            scores.append(best)
            gather = index[..., None].expand(-1, -1, level_deltas.shape[-1])
            deltas.append(level_deltas.float().gather(1, gather))
            anchors.append(level_anchors[index])  # (B, count, 4)
            levels.append(index.new_full((count,), level))
        all_levels = torch.cat(levels)
        images = zip(
            torch.cat(scores, 1), torch.cat(deltas, 1), torch.cat(anchors, 1), sizes, strict=True
        )
        return [
            self._suppress(self._decode(a, d, size), s, all_levels, selection)
            for s, d, a, size in images
        ]

    def _sample_anchors(
        self,
        anchors: torch.Tensor,
        feature_sizes: list[tuple[int, int]],
        boxes: torch.Tensor,
        size: tuple[int, int],
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return indices of positive and negative anchors, and the object of each positive."""
        rule = self.matching
        candidates = torch.arange(len(anchors), device=anchors.device)
        if rule.allowed_border >= 0:
            # Differs: an image without any anchor inside trains nothing here; the original raises.
            candidates = anchors_inside(anchors, size, rule.allowed_border).nonzero().flatten()
        elif rule.pad_divisor:
            valid = anchors_valid(
                feature_sizes,
                self.anchors.strides,
                size,
                num_anchors=self.anchors.num_anchors,
                pad_divisor=rule.pad_divisor,
                device=anchors.device,
            )
            candidates = valid.nonzero().flatten()
        matches = match_boxes(
            box_iou(self._hulls(boxes).float(), anchors[candidates]),
            rule.positive_threshold,
            rule.negative_threshold,
            rule.min_positive,
            True,
        )
        positive, negative = sample_balanced(matches, rule.num_samples, rule.positive_fraction)
        return candidates[positive], candidates[negative], matches[positive]

    def _suppress(
        self,
        boxes: torch.Tensor,
        scores: torch.Tensor,
        levels: torch.Tensor,
        selection: ProposalSelection,
    ) -> torch.Tensor:
        """Drop empty boxes, then suppress overlapping ones within each level."""
        hulls = self._hulls(boxes)
        sides = boxes[:, 2:4] - boxes[:, :2] if boxes.shape[1] == 4 else boxes[:, 2:4]
        valid = (sides > 0).all(dim=1).nonzero().flatten()
        keep = batched_nms(hulls[valid], scores[valid], levels[valid], selection.nms_threshold)
        return boxes[valid[keep[: selection.post_nms]]]

    def _decode(
        self, anchors: torch.Tensor, deltas: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        return self.coder.decode(anchors, deltas, size)

    def _hulls(self, boxes: torch.Tensor) -> torch.Tensor:
        return boxes


class OrientedRPNHead(RPNHead):
    """Propose rotated boxes from horizontal anchors by midpoint offsets.

    Anchors meet the horizontal hulls of rotated ground truth, and NMS runs on the hulls of the
    proposals. Source: Xie et al. 2021, section 3.1.
    """

    coder = MidpointOffsetCoder()
    box_loss_beta = 1.0 / 9.0

    def _decode(
        self, anchors: torch.Tensor, deltas: torch.Tensor, size: tuple[int, int]
    ) -> torch.Tensor:
        # Kept: rotated proposals are not clipped to the image (original spec 7.3).
        return self.coder.decode(anchors, deltas)

    def _hulls(self, boxes: torch.Tensor) -> torch.Tensor:
        return rotated_boxes_to_boxes(boxes)
