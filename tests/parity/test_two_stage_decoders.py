"""The two RoI decoders against recordings of the original code, in float32 on a CPU.

Losses and gradients are computed in float64: in float32 one unit before a ReLU lies so near zero
that the processor decides its side, and with it 1e-3 of the largest gradient.
"""

import pytest
import torch
from torch import nn

from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.convert_mtp_decoders import TWO_STAGE_TABLE
from mtp_hf.modeling.decoder_two_stage import build_two_stage_decoder
from tests.original_names import rename_keys
from tests.parity.recordings import Recording, first_of_each, unmatched_besides_ties

LAST_LAYERS = (
    (r"fc_cls\.(weight|bias)", r"box.classifier.\1"),
    (r"fc_reg\.(weight|bias)", r"box.regressor.\1"),
    (r"conv_logits\.(weight|bias)", r"mask.\1"),
)
LOSS_NAMES = {
    "loss_rpn_objectness": "loss_rpn_cls",
    "loss_rpn_box": "loss_rpn_bbox",
    "loss_box_class": "loss_cls",
    "loss_box_reg": "loss_bbox",
    "loss_mask": "loss_mask",
}
SIZE = (128, 128)
KINDS = {
    "head_mask_rcnn": (MaskRCNNConfig, {"mask_hidden_size": 32}, "hboxes"),
    "head_oriented_rcnn": (OrientedRCNNConfig, {}, "rboxes"),
}


@pytest.fixture(scope="module", params=list(KINDS))
def recording(request, shared_dir):
    return Recording(shared_dir / "fixtures", request.param)


def _rename(key: str) -> str:
    if key.startswith("decoder."):
        part, table = key.removeprefix("decoder."), TWO_STAGE_TABLE
        return "decoder." + next(iter(rename_keys({part: torch.zeros(1)}, table)))
    return "classifier." + next(iter(rename_keys({key: torch.zeros(1)}, LAST_LAYERS)))


def _build(recording, **overrides):
    config_class, widths, _ = KINDS[recording.name]
    config = config_class(hidden_size=32, box_hidden_size=64, **widths, **overrides)
    model = nn.Module()
    model.decoder = build_two_stage_decoder(
        config, [16, 32, 64, 128], use_unit_box_target=recording.name == "head_mask_rcnn"
    )
    model.classifier = model.decoder.build_classifier(7)
    model.load_state_dict({_rename(k): v for k, v in recording.under("state_dict").items()})
    return model


def _targets(recording):
    boxes = KINDS[recording.name][2]
    return [
        {
            "size": SIZE,
            "boxes": recording[f"train/batch/{boxes}/{i}"],
            "labels": recording[f"train/batch/labels/{i}"],
            "masks": recording.masks(f"train/batch/masks_packed/{i}", SIZE),
        }
        for i in range(2)
    ]


def _losses(recording, model, features):
    return model.decoder.loss(
        features,
        _targets(recording),
        groups={"x": [0, 1]},
        classifiers={"x": model.classifier},
    )["x"]


@pytest.mark.parametrize("case", ["train_firstk", "train_all"])
def test_losses_and_gradients_equal_the_original(recording, case, monkeypatch):
    overrides = {"rpn_num_samples": 10**6, "box_num_samples": 10**6}
    model = _build(recording, **(overrides if case == "train_all" else {})).double().train()
    features = tuple(recording[f"feat/{i}"].double().requires_grad_() for i in range(4))
    first_of_each(monkeypatch)
    losses = _losses(recording, model, features)
    recorded = recording.meta["losses"][case]
    for name, value in losses.items():
        expected = recorded[LOSS_NAMES[name]]
        expected = sum(expected) if isinstance(expected, list) else expected
        assert float(value.detach()) == pytest.approx(expected, rel=1e-5), name
    if case == "train_all":
        return
    sum(losses.values()).backward()
    for i, feature in enumerate(features):
        recording.assert_gradient(feature.grad, f"{case}/grad_feat/{i}")
    parameters = dict(model.named_parameters())
    for key, (norm, _) in recording.meta["grad_checksums"][case].items():
        gradient = parameters[_rename(key)].grad
        found = 0.0 if gradient is None else float(gradient.double().norm())
        assert found == pytest.approx(norm, rel=1e-4, abs=1e-7), key


def test_detections_equal_the_original(recording):
    model = _build(recording).eval()
    found = model.decoder.predict(
        tuple(recording[f"feat/{i}"] for i in range(4)),
        [SIZE] * 2,
        groups={"x": [0, 1]},
        classifiers={"x": model.classifier},
    )
    for i, image in enumerate(found):
        boxes = image["boxes"].clone()
        boxes[:, :4] /= 0.8  # recorded in pixels of the image before its resize
        expected = recording.under(f"eval/pred/{i}")
        missing = unmatched_besides_ties(expected, boxes, image["scores"], image["labels"])
        assert len(missing) <= 0.01 * len(expected["scores"])
        assert abs(len(boxes) - len(expected["scores"])) <= 1
