"""A finetuning detector against a recording of the original, from pixels to predictions."""

import pytest
import torch

from mtp_hf.data.collate import normalize_images
from mtp_hf.modeling.configuration_faster_rcnn import FasterRCNNConfig
from mtp_hf.modeling.convert_detectors import TWO_STAGE_DETECTOR_TABLE
from mtp_hf.modeling.modeling_faster_rcnn import FasterRCNNForObjectDetection
from tests.original_names import rename_keys, rename_vit_rvsa_keys
from tests.parity.recordings import Recording, first_of_each, unmatched_besides_ties

LOSS_NAMES = {
    "loss_rpn_objectness": "loss_rpn_cls",
    "loss_rpn_box": "loss_rpn_bbox",
    "loss_box_class": "loss_cls",
    "loss_box_reg": "loss_bbox",
}
SIZE = (128, 128)
ORIGINAL_SIZE = (160, 160)
EVERYTHING = {"rpn_num_samples": 10**6, "box_num_samples": 10**6}


@pytest.fixture(scope="module")
def recording(shared_dir):
    return Recording(shared_dir / "fixtures", "ft_faster_rcnn_dior_vit")


def _rename(state_dict):
    detector = {k: v for k, v in state_dict.items() if not k.startswith("backbone.")}
    backbone = rename_vit_rvsa_keys(state_dict, "backbone.", new_prefix="backbone.")
    return backbone | rename_keys(detector, TWO_STAGE_DETECTOR_TABLE)


def _model(recording, **overrides):
    config = FasterRCNNConfig(
        backbone_config={
            "model_type": "mtp_vit_rvsa",
            "hidden_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "full_attention_interval": 2,
            "image_size": 128,
            "out_indices": [1, 2, 3, 4],
            "drop_path_rate": 0.0,
            "use_full_attention_rel_pos": False,
        },
        hidden_size=32,
        box_hidden_size=64,
        num_labels=20,
        **overrides,
    )
    model = FasterRCNNForObjectDetection(config)
    model.load_state_dict(_rename(recording.under("state_dict")))
    return model


def _batch(recording, split):
    images = [recording[f"{split}/batch/image/{i}"].flip(0) for i in range(2)]  # recorded as BGR
    labels = [
        {
            "boxes": recording[f"{split}/batch/hboxes/{i}"],
            "class_labels": recording[f"{split}/batch/labels/{i}"],
            "size": SIZE,
        }
        for i in range(2)
    ]
    return normalize_images(torch.stack(images), [SIZE] * 2), labels


def test_normalised_pixels_equal_the_original(recording):
    pixel_values, _ = _batch(recording, "train")
    expected = recording["train/normalized_input_every_8th"]
    torch.testing.assert_close(pixel_values[..., ::8, ::8], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["train_firstk", "train_all"])
def test_losses_and_gradients_equal_the_original(recording, case, monkeypatch):
    model = _model(recording, **(EVERYTHING if case == "train_all" else {})).train()
    first_of_each(monkeypatch)
    output = model(*_batch(recording, "train"))
    recorded = recording.meta["losses"][case]
    assert set(output.losses) == set(LOSS_NAMES)
    for name, value in output.losses.items():
        expected = recorded[LOSS_NAMES[name]]
        expected = sum(expected) if isinstance(expected, list) else expected
        assert float(value.detach()) == pytest.approx(expected, rel=1e-5), name
    assert float(output.loss.detach()) == pytest.approx(
        recording.meta["loss_total"][case], rel=1e-5
    )
    output.loss.backward()
    checksums = recording.meta["grad_checksums"][case]
    norms = _rename({key: torch.tensor(value[0]) for key, value in checksums.items()})
    parameters = dict(model.named_parameters())
    assert set(norms) == set(parameters)
    for name, norm in norms.items():
        found = float(parameters[name].grad.double().norm())
        assert found == pytest.approx(float(norm), rel=1e-4, abs=1e-6), name


@torch.no_grad()
def test_maps_and_proposal_network_equal_the_original(recording):
    model = _model(recording).eval()
    pixel_values, _ = _batch(recording, "eval")
    pyramid = model.decoder.neck(model.backbone(pixel_values).feature_maps)
    predictions = model.decoder.rpn_head(pyramid)
    for level, found in enumerate(pyramid):
        torch.testing.assert_close(found[:1], recording[f"eval/fpn/{level}"], rtol=0, atol=1e-4)
        logits = recording[f"eval/dense_head/cls/{level}"].permute(0, 2, 3, 1).flatten(1)
        deltas = recording[f"eval/dense_head/reg/{level}"].permute(0, 2, 3, 1).flatten(1)
        torch.testing.assert_close(
            predictions.objectness_logits[level][:1], logits, rtol=0, atol=1e-4
        )
        torch.testing.assert_close(
            predictions.box_deltas[level][:1].flatten(1), deltas, rtol=0, atol=1e-4
        )


def test_predictions_equal_the_original(recording):
    model = _model(recording).eval()
    pixel_values, _ = _batch(recording, "eval")
    predictions = model.predict(pixel_values, target_sizes=[ORIGINAL_SIZE] * 2)
    for i, found in enumerate(predictions):
        expected = recording.under(f"eval/pred/{i}")
        missing = unmatched_besides_ties(expected, found["boxes"], found["scores"], found["labels"])
        assert len(missing) <= 0.01 * len(expected["scores"])
        assert len(found["scores"]) == len(expected["scores"])
