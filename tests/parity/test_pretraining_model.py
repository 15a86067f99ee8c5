"""The whole multi-task model, small, against a recording of the original framework."""

import json

import pytest
import torch

from mtp_hf.data.collate import normalize_images
from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from tests.original_names import rename_mtp_keys
from tests.parity.recordings import (
    Recording,
    first_of_each,
    recorded_weights,
    unmatched_besides_ties,
)

DATASETS = ("sota", "sior", "fast")
TASKS = ("ss", "is", "rd")
SIZE = (128, 128)
ORIGINAL_SIZE = (160, 160)


@pytest.fixture(scope="module")
def recording(shared_dir):
    return Recording(shared_dir / "fixtures", "mtp_small_vit")


@pytest.fixture(scope="module")
def original_weights(recording, shared_dir):
    return recorded_weights(shared_dir / "fixtures", recording.meta["keys"], "mtp")


def _model(recording, original_weights):
    config = MTPPreTrainingConfig(
        backbone_config={
            "model_type": "mtp_vit_rvsa",
            "hidden_size": 96,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "full_attention_interval": 3,
            "image_size": 128,
            "out_indices": [2, 3, 4, 6],
            "drop_path_rate": 0.0,
        },
        class_names={
            name: [f"class{i}" for i in range(count)]
            for name, count in zip(DATASETS, recording.meta["classes"], strict=True)
        },
        semantic_config={"dropout": 0.0},
        original_losses=True,
    )
    model = MTPForPreTraining(config)
    outcome = model.load_state_dict(rename_mtp_keys(original_weights, DATASETS), strict=False)
    assert outcome.unexpected_keys == []
    assert [k for k in outcome.missing_keys if not k.endswith("num_batches_tracked")] == []
    return model


def _batch(recording, split):
    images, labels = [], []
    for number, dataset in enumerate(DATASETS):
        for i in range(2):

            def part(name, number=number, i=i):
                return f"{split}/batch/{number}/{name}/{i}"

            images.append(recording[part("image")].flip(0))  # recorded as BGR
            classes = recording[part("labels")]
            labels.append(
                {
                    "dataset": dataset,
                    "image_id": f"{dataset}-{i}",
                    "size": SIZE,
                    "boxes": recording[part("hboxes")],
                    "class_labels": classes,
                    "instance_masks": recording.masks(part("masks_packed"), SIZE),
                    "rotated_boxes": recording[part("rboxes")],
                    "rotated_class_labels": classes,
                    "semantic_labels": recording[part("seg")].long(),
                }
            )
    return normalize_images(torch.stack(images), [SIZE] * len(images)), labels


def test_recorded_weights_are_the_ones_made_here(recording, original_weights):
    for key, recorded in recording.meta["weight_checksums"].items():
        assert float(original_weights[key].double().abs().sum()) == pytest.approx(
            recorded["abssum"], rel=1e-6
        )


def test_losses_gradients_and_statistics_equal_the_original(
    recording, original_weights, monkeypatch
):
    case = "train_firstk"
    model = _model(recording, original_weights).train()
    first_of_each(monkeypatch)
    output = model(*_batch(recording, "train"))
    recorded = recording.meta["loss_sum_per_task_and_dataset"][case]
    for task, sums in zip(TASKS, recorded, strict=True):
        for dataset, expected in zip(DATASETS, sums, strict=True):
            parts = [v for k, v in output.losses.items() if k.startswith(f"{dataset}/{task}/")]
            assert float(sum(parts).detach()) == pytest.approx(expected, rel=1e-5), (dataset, task)
    assert float(output.loss.detach()) == pytest.approx(
        recording.meta["loss_total"][case], rel=1e-5
    )
    output.loss.backward()
    _check_gradients(recording, model, case)

    buffers = dict(model.named_buffers())
    statistics = recording.under(f"{case}/running")
    for key, value in rename_mtp_keys(statistics, DATASETS).items():
        torch.testing.assert_close(buffers[key], value, rtol=1e-4, atol=1e-5)


def _check_gradients(recording, model, case):
    parameters = dict(model.named_parameters())
    checksums = recording.meta["grad_checksums"][case]
    norms = rename_mtp_keys({k: torch.tensor(v[0]) for k, v in checksums.items()}, DATASETS)
    for key, norm in norms.items():
        found = float(parameters[key].grad.double().norm())
        assert found == pytest.approx(float(norm), rel=_tolerance(key), abs=1e-6), key
    for key, value in rename_mtp_keys(recording.under(f"{case}/grad"), DATASETS).items():
        error = (parameters[key].grad - value).abs().max() / value.abs().max()
        assert float(error) <= _tolerance(key), key


def _tolerance(key: str) -> float:
    """2e-4 of the largest gradient, and 1e-3 where the 1 x 1 pooled branch takes part.

    The decoders alone agree to 1e-6 (test_two_stage_decoders); behind a backbone, its round-off of
    1e-6 moves a few ReLUs over zero, which shows as 1.1e-4 in a recorded bias gradient.

    Its batch norm sees two values a channel, so it returns about +1 and -1 whatever they are, and
    its gradient is a difference of nearly equal numbers: round-off grows there, in the segmentation
    decoder and, through the coarsest map, in the whole backbone.
    """
    shared_with_pooling = key.startswith(("decoders.ss.", "classifiers.ss.", "backbone."))
    return 1e-3 if shared_with_pooling else 2e-4


def test_predictions_equal_the_original(recording, original_weights):
    model = _model(recording, original_weights).eval()
    pixel_values, labels = _batch(recording, "eval")
    found = model.predict(
        pixel_values, [label["dataset"] for label in labels], target_sizes=[ORIGINAL_SIZE] * 6
    )
    for image, prediction in enumerate(found):
        place = f"{image // 2}/{image % 2}"
        expected = recording[f"eval/ss/pred/{place}"].long()
        wrong = (prediction["ss"]["semantic_map"] != expected).float().mean()
        assert float(wrong) <= 1e-3, place
        _check_detections(recording.under(f"eval/is/{place}"), prediction["is"], "boxes")
        _check_detections(recording.under(f"eval/rd/{place}"), prediction["rd"], "rotated_boxes")
        masks = recording.masks(f"eval/is/{place}/masks_packed", ORIGINAL_SIZE)
        assert float((prediction["is"]["masks"][: len(masks)] != masks).float().mean()) <= 1e-3


def _check_detections(expected, found, boxes):
    missing = unmatched_besides_ties(expected, found[boxes], found["scores"], found["labels"])
    assert len(missing) <= 0.01 * len(expected["scores"])
    assert abs(len(found["scores"]) - len(expected["scores"])) <= 0.01 * len(expected["scores"])


def test_manifest_of_the_published_model_renames_whole(shared_dir):
    manifests = json.loads((shared_dir / "fixtures" / "keys_multitask.json").read_text())
    name = next(key for key in manifests if "vit_l" in key)
    manifest = manifests[name].get("keys", manifests[name])
    renamed = rename_mtp_keys({key: torch.empty(0) for key in manifest}, DATASETS)
    dropped = {k for k in manifest if k.endswith("relative_position_index") or "conv_seg" in k}
    dropped |= {"encoder.norm.weight", "encoder.norm.bias"}
    assert len(renamed) == len(manifest) - len(dropped)
