"""Two-stage detection models: the decoder of pretraining with the classes of one data set.

Parameters have the names of `MTPForPreTraining`, where `decoders.TASK` is `decoder` here and
`classifiers.TASK.DATASET` is `classifier`.

Source: original spec 3.2, 3.3.
"""

from functools import partial
from typing import Any

import torch

from .configuration_two_stage import TwoStageConfig
from .decoder_two_stage import build_two_stage_decoder
from .image_sizes import Size
from .layers_initialization import init_kaiming, init_normal, init_xavier
from .modeling_detection import DetectionPreTrainedModel, Detections, Features

_ONE_SET = "all"  # the decoder can serve several data sets; here is one


class TwoStageDetectionModel(DetectionPreTrainedModel):
    """Detect objects by proposals and regions.

    Args:
        config: Of Faster, Mask or Oriented R-CNN, with a backbone.
    """

    config: TwoStageConfig
    starts = (
        (r"decoder\.neck\..*", init_xavier),
        (r"decoder\.rpn_head\..*", partial(init_normal, std=0.01)),
        (r"decoder\.box_head\..*", init_xavier),
        (r"classifier\.box\.classifier", partial(init_normal, std=0.01)),
        (r"classifier\.box\.regressor", partial(init_normal, std=0.001)),
        (r"decoder\.mask_head\..*|classifier\.mask", init_kaiming),
    )
    _no_split_modules = ["TwoStageDecoder"]

    def __init__(self, config: TwoStageConfig) -> None:
        super().__init__(config)
        self.decoder = build_two_stage_decoder(config, list(self.backbone.channels))
        num_labels: Any = config.num_labels
        self.classifier = self.decoder.build_classifier(num_labels)
        self.post_init()

    def _losses(self, features: Features, targets: list[dict]) -> dict[str, torch.Tensor]:
        losses = self.decoder.loss(
            features,
            targets,
            groups={_ONE_SET: list(range(len(targets)))},
            classifiers={_ONE_SET: self.classifier},
        )
        return losses[_ONE_SET]

    def _detect(self, features: Features, sizes: list[Size]) -> list[Detections]:
        return self.decoder.predict(
            features,
            sizes,
            groups={_ONE_SET: list(range(len(sizes)))},
            classifiers={_ONE_SET: self.classifier},
        )
