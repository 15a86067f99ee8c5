"""What every detection model must do beyond `ModelBehaviour`: a suite to inherit from."""

import pytest
import torch

from mtp_hf.modeling.modeling_detection import DetectionPreTrainedModel
from tests.modeling.model_behaviour import ModelBehaviour
from tests.tiny_models import TINY_BACKBONE, TINY_TWO_STAGE, make_label

SIDE = 112
TINY_RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}


class DetectionBehaviour(ModelBehaviour):
    """Claims about models of boxes, horizontal or rotated, with masks or without."""

    model_class: type[DetectionPreTrainedModel]
    config_class: type
    sizes = TINY_TWO_STAGE  # of the detector
    loss_names = ("loss_rpn_objectness", "loss_rpn_box", "loss_box_class", "loss_box_reg")

    def config(self, **overrides):
        values = {
            "backbone_config": TINY_BACKBONE,
            "num_labels": 3,
            "score_threshold": 0.0,
            "max_detections": 5,
            **self.sizes,
        }
        return self.config_class(**values | overrides)

    def inputs(self, batch=2):
        return {"pixel_values": torch.randn(batch, 3, SIDE, SIDE)}

    def labels(self, batch=2):
        return [make_label("x", 2 + i, SIDE) for i in range(batch)]

    def outputs(self, output):
        # Boxes of an untrained model are near-ties, which the last bit decides.
        return [*output.feature_maps, output.scores]

    def test_losses_have_their_names_and_sum_up(self):
        output = self.model()(**self.inputs(), labels=self.labels())
        assert set(output.losses) == set(self.loss_names)
        torch.testing.assert_close(output.loss, torch.stack(list(output.losses.values())).sum())
        assert output.scores is None and len(output.feature_maps) == 4

    def test_images_without_objects_train_and_empty_targets_are_normal(self):
        model = self.model().train()
        for counts in ((0, 0), (2, 0)):
            labels = [make_label("x", count, SIDE) for count in counts]
            output = model(**self.inputs(), labels=labels)
            output.loss.backward()
            assert all(torch.isfinite(x) for x in output.losses.values())
        empty = [make_label("x", 0, SIDE) for _ in range(2)]
        losses = model(**self.inputs(), labels=empty).losses
        box_losses = {n: float(x.detach()) for n, x in losses.items() if "box" in n or "mask" in n}
        box_losses.pop("loss_box_class", None)
        assert set(box_losses.values()) == {0.0}

    def test_wrong_labels_are_named(self):
        model, inputs = self.model(), self.inputs(1)
        (label,) = self.labels(1)
        name = model.label_names["labels"]
        with pytest.raises(ValueError, match="1 images but 2 labels"):
            model(**inputs, labels=[label, label])
        with pytest.raises(ValueError, match=rf"classes from 0 to 3 in {name}; expected 0 to 2"):
            model(**inputs, labels=[label | {name: torch.tensor([0, 3])}])
        del label[name]
        with pytest.raises(ValueError, match=f"image x-2 lacks {name}"):
            model(**inputs, labels=[label])

    def test_predictions_have_names_shapes_and_pixels_of_the_target(self):
        model = self.model()
        found = model.predict(
            **self.inputs(),
            sizes=torch.tensor([[SIDE, 80], [96, SIDE]]),
            target_sizes=[(224, 160), (48, 56)],
        )
        width = 5 if model.box_name == "rotated_boxes" else 4
        for each, (height, columns) in zip(found, [(224, 160), (48, 56)], strict=True):
            assert len(each["scores"]) and (each["scores"].diff() <= 0).all()
            assert each["labels"].max() < 3 and each["labels"].dtype == torch.int64
            boxes = each[model.box_name]
            assert boxes.shape == (len(each["scores"]), width)
            limit = torch.tensor([columns, height]) + 0.01
            assert (boxes[:, :2] <= limit).all()
            if width == 4:
                assert (boxes[:, 2:] <= limit).all() and (boxes >= 0).all()
            if "masks" in each:
                assert each["masks"].shape == (len(boxes), height, columns)

    def test_output_without_labels_holds_the_detections_filled_up(self, monkeypatch):
        model = self.model()
        width = 5 if model.box_name == "rotated_boxes" else 4
        found = [
            {
                "scores": torch.rand(count),
                "labels": torch.arange(count),
                "boxes": torch.rand(count, width),
            }
            for count in (2, 0, 3)
        ]
        monkeypatch.setattr(model, "_detect", lambda features, sizes: found)
        output = model(**self.inputs(3), sizes=[(SIDE, 100)] * 3)
        assert output.loss is None and output.losses is None
        assert output.sizes.tolist() == [[SIDE, 100]] * 3
        assert output[model.box_name].shape == (3, 3, width)
        for i, each in enumerate(found):
            count = len(each["scores"])
            assert torch.equal(output.scores[i, :count], each["scores"])
            assert torch.equal(output[model.box_name][i, :count], each["boxes"])
            assert output.labels[i].tolist() == list(range(count)) + [-1] * (3 - count)
            assert (output.scores[i, count:] == 0).all()

    def test_number_of_sizes_must_fit(self):
        with pytest.raises(ValueError, match="2 images but 1 sizes"):
            self.model().predict(**self.inputs(), sizes=[(SIDE, SIDE)])

    def test_arguments_of_trainers_are_ignored(self):
        output = self.model()(**self.inputs(), labels=self.labels(), num_items_in_batch=2)
        assert output.loss.ndim == 0

    @pytest.mark.parametrize("backbone", ["transformers", "timm"])
    def test_other_backbones_fit(self, backbone):
        config = TINY_RESNET
        if backbone == "timm":
            pytest.importorskip("timm")
            config = {
                "model_type": "timm_backbone",
                "backbone": "resnet10t",
                "use_pretrained_backbone": False,
                "out_indices": [1, 2, 3, 4],
            }
        model = self.model(backbone_config=config).train()
        output = model(**self.inputs(), labels=self.labels())
        output.loss.backward()
        assert torch.isfinite(output.loss)
        assert model.eval().predict(**self.inputs())[0]["scores"].numel()

    def test_backbone_with_other_strides_is_refused(self):
        backbone = {**TINY_RESNET, "downsample_in_first_stage": True}
        with pytest.raises(ValueError, match="does not have stride 4 in an image of 112 x 112"):
            self.model(backbone_config=backbone)(**self.inputs())
        fewer = {**TINY_RESNET, "out_features": ["stage3", "stage4"]}
        with pytest.raises(ValueError, match=r"makes 2 maps, .* \[4, 8, 16, 32\]"):
            self.model(backbone_config=fewer)

    def test_backbone_is_needed(self):
        with pytest.raises(ValueError, match="has no backbone_config"):
            self.model_class(self.config_class())

    def test_two_images_are_learned(self):
        torch.manual_seed(0)
        model = self.model_class(self.config(backbone_config=TINY_RESNET)).train()
        inputs, labels = self.inputs(), self.labels()
        for image, label in zip(inputs["pixel_values"], labels, strict=True):
            image *= 0.1
            for box, kind in zip(label["boxes"].int(), label["class_labels"], strict=True):
                x1, y1, x2, y2 = box.tolist()
                image[int(kind), y1:y2, x1:x2] += 2
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        losses = []
        for _ in range(self.learning_steps):
            optimizer.zero_grad()
            loss = model(**inputs, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.5 * losses[0], losses

    learning_steps = 30
