import pytest
import torch
from transformers import AutoModelForPreTraining

from mtp_hf.modeling.configuration_vit_rvsa import ViTRVSAConfig
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from tests.tiny_models import (
    CLASS_NAMES,
    TINY_BACKBONE,
    TINY_TWO_STAGE,
    make_batch,
    make_label,
    tiny_pretraining_config,
)

DETECTION = ("loss_rpn_objectness", "loss_rpn_box", "loss_box_class", "loss_box_reg")


def _model(**overrides):
    return MTPForPreTraining(tiny_pretraining_config(**overrides))


def test_losses_are_named_by_set_task_and_loss_and_sum_up():
    pixel_values, labels = make_batch([("sior", 2), ("fast", 1)])
    output = _model()(pixel_values, labels)
    expected = {f"{d}/ss/loss_segmentation" for d in CLASS_NAMES}
    expected |= {f"{d}/{t}/{n}" for d in CLASS_NAMES for t in ("is", "rd") for n in DETECTION}
    expected |= {f"{d}/is/loss_mask" for d in CLASS_NAMES}
    assert set(output.losses) == expected
    torch.testing.assert_close(output.loss, torch.stack(list(output.losses.values())).sum())


def test_gradients_reach_every_parameter():
    model = _model()
    pixel_values, labels = make_batch([("sior", 3), ("fast", 2)])
    model(pixel_values, labels).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("tasks", [["ss"], ["is"], ["rd"], ["ss", "rd"]])
def test_any_subset_of_tasks_trains(tasks):
    model = _model(dataset_tasks={name: tasks for name in CLASS_NAMES})
    output = model(*make_batch([("sior", 1), ("fast", 1)]))
    assert {name.split("/")[1] for name in output.losses} == set(tasks)
    assert set(model.decoders) == set(tasks)


def test_data_sets_may_have_different_tasks():
    model = _model(dataset_tasks={"sior": ["ss", "rd"], "fast": ["is"]})
    pixel_values, labels = make_batch([("fast", 1), ("sior", 2), ("fast", 0)])
    for label in labels:
        if label["dataset"] == "sior":
            del label["boxes"], label["instance_masks"], label["class_labels"]
        else:
            del label["semantic_labels"], label["rotated_boxes"]
    names = {tuple(name.split("/")[:2]) for name in model(pixel_values, labels).losses}
    assert names == {("sior", "ss"), ("sior", "rd"), ("fast", "is")}


def test_unequal_and_missing_groups_train():
    model = _model()
    for plan in ([("sior", 1)] * 3 + [("fast", 2)], [("fast", 1)], [("fast", 0), ("fast", 0)]):
        output = model(*make_batch(plan))
        output.loss.backward()
        assert {name.split("/")[0] for name in output.losses} == {dataset for dataset, _ in plan}


def test_losses_of_a_set_do_not_depend_on_its_place_in_the_batch():
    # Every anchor trains, so that nothing is drawn; batch norms of two values amplify noise.
    everything = {**TINY_TWO_STAGE, "rpn_num_samples": 10**6}
    model = _model(instance_config=everything, rotated_config=everything).eval()
    pixel_values, labels = make_batch([("sior", 2), ("fast", 1), ("sior", 1)])
    order = [1, 0, 2]
    first = model(pixel_values, labels).losses
    second = model(pixel_values[order], [labels[i] for i in order]).losses
    # Losses before the proposals; after them a near-tie in suppression may choose other regions.
    for name in (n for n in first if "rpn" in n or "segmentation" in n):
        torch.testing.assert_close(second[name], first[name], rtol=1e-4, atol=1e-5)


def test_missing_annotation_is_named():
    pixel_values, labels = make_batch([("sior", 1)])
    del labels[0]["rotated_boxes"]
    with pytest.raises(ValueError, match=r"sior-1 of sior lacks rotated_boxes"):
        _model()(pixel_values, labels)


def test_unknown_data_set_is_named():
    pixel_values, labels = make_batch([("sior", 1)])
    labels[0]["dataset"] = "dota"
    with pytest.raises(ValueError, match="dota"):
        _model()(pixel_values, labels)


def test_number_of_labels_must_fit():
    pixel_values, labels = make_batch([("sior", 1)])
    with pytest.raises(ValueError, match="1 images but 2 labels"):
        _model()(pixel_values, labels * 2)


def test_without_labels_only_maps_come_back():
    output = _model()(torch.randn(1, 3, 112, 112))
    assert output.loss is None and [m.shape[-1] for m in output.feature_maps] == [28, 14, 7, 3]


def test_predictions_have_the_target_size():
    model = _model(instance_config={"score_threshold": 0.0, "max_detections": 5}).eval()
    pixel_values, _ = make_batch([("sior", 1), ("fast", 1)], side=128)
    found = model.predict(
        pixel_values, ["sior", "fast"], sizes=[(128, 100), (96, 128)], target_sizes=[(64, 50)] * 2
    )
    for prediction in found:
        assert prediction["ss"]["semantic_map"].shape == (64, 50)
        instances = prediction["is"]
        assert instances["masks"].shape == (len(instances["boxes"]), 64, 50)
        assert instances["masks"].dtype == torch.bool and len(instances["boxes"])
        assert instances["boxes"][:, 2].max() <= 50.01 and instances["boxes"][:, 3].max() <= 64.01
        assert prediction["rd"]["rotated_boxes"].shape[1] == 5
    assert int(found[1]["ss"]["semantic_map"].max()) <= len(CLASS_NAMES["fast"])


def test_batch_predicts_what_its_images_predict():
    model = _model().eval()
    pixel_values, _ = make_batch([("sior", 0), ("fast", 0)])
    both = model.predict(pixel_values, ["sior", "fast"])
    one = model.predict(pixel_values[1:], "fast")
    for task, prediction in one[0].items():
        for name, value in prediction.items():
            torch.testing.assert_close(both[1][task][name], value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("cls", [MTPForPreTraining, AutoModelForPreTraining])
def test_saved_model_predicts_the_same(cls, tmp_path):
    model = _model().eval()
    model.save_pretrained(tmp_path)
    again = cls.from_pretrained(tmp_path).eval()
    pixel_values, _ = make_batch([("sior", 0)])
    first, second = model.predict(pixel_values, "sior")[0], again.predict(pixel_values, "sior")[0]
    for task, prediction in first.items():
        for name, value in prediction.items():
            assert torch.equal(second[task][name], value), (task, name)


def test_weights_missing_from_a_folder_start_like_new_ones(tmp_path):
    model = _model()
    model.backbone.save_pretrained(tmp_path)
    again = MTPForPreTraining.from_pretrained(tmp_path, config=tiny_pretraining_config())
    assert torch.equal(
        again.backbone.embeddings.position_embeddings,
        model.backbone.embeddings.position_embeddings,
    )
    fresh = dict(_model().named_parameters())
    for name, parameter in again.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert parameter.abs().max() <= 3 * fresh[name].abs().max() + 1e-3, name


def test_bf16_weights_train():
    model = _model().to(torch.bfloat16)
    pixel_values, labels = make_batch([("sior", 2), ("fast", 1)])
    loss = model(pixel_values.to(torch.bfloat16), labels).loss
    loss.backward()
    assert torch.isfinite(loss)


def test_autocast_losses_are_float32_and_near():
    model = _model().eval()
    pixel_values, labels = make_batch([("sior", 2)])
    exact = model(pixel_values, labels).losses["sior/ss/loss_segmentation"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(pixel_values, labels).losses
    assert all(x.dtype == torch.float32 for x in losses.values())
    torch.testing.assert_close(losses["sior/ss/loss_segmentation"], exact, rtol=0.05, atol=0.05)


def test_activation_checkpointing_gives_the_same_gradients(monkeypatch):
    monkeypatch.setattr(torch, "randperm", lambda n, **kwargs: torch.arange(n))
    batch = make_batch([("sior", 2)])
    model = _model().train()
    gradients = []
    for enabled in (False, True):
        if enabled:
            model.activation_checkpointing_enable()
        model.zero_grad()
        model(*batch).loss.backward()
        gradients.append(model.backbone.embeddings.position_embeddings.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_original_losses_squeeze_logits_onto_the_smaller_map():
    pixel_values, labels = make_batch([("sior", 1)], side=128)
    labels[0]["size"] = (60, 60)
    labels[0]["semantic_labels"][60:, :] = 255
    labels[0]["semantic_labels"][:, 60:] = 255
    torch.manual_seed(0)
    kept = _model(original_losses=True).eval()
    fixed = MTPForPreTraining(tiny_pretraining_config()).eval()
    fixed.load_state_dict(kept.state_dict())
    name = "sior/ss/loss_segmentation"
    features = kept.backbone(pixel_values).feature_maps
    logits = kept.classifiers["ss"]["sior"](kept.decoders["ss"](features))
    squeezed = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear")
    expected = torch.nn.functional.cross_entropy(
        squeezed, labels[0]["semantic_labels"][None, :64, :64], ignore_index=255, reduction="sum"
    ) / (64 * 64)
    torch.testing.assert_close(kept(pixel_values, labels).losses[name], expected)
    assert not torch.isclose(fixed(pixel_values, labels).losses[name], expected)


def test_other_backbones_of_transformers_fit():
    backbone = {
        "model_type": "resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 8, 8, 8],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    output = _model(backbone_config=backbone)(*make_batch([("sior", 1)], side=128))
    assert torch.isfinite(output.loss)


def test_a_second_copy_of_the_backbone_config_is_taken_too():
    class Copy(ViTRVSAConfig):
        """Not registered, as the config of code that was imported twice."""

    values = {key: value for key, value in TINY_BACKBONE.items() if key != "model_type"}
    model = MTPForPreTraining(tiny_pretraining_config(backbone_config=Copy(**values)))
    assert type(model.backbone.config) is Copy


def test_label_helper_is_consistent():
    label = make_label("sior", 2)
    assert label["instance_masks"][1].sum() == 24 * 24
    assert int((label["semantic_labels"] == 2).sum()) == 24 * 24
