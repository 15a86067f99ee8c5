import pickle

import pytest
import torch

from mtp_hf.data.collate import IMAGE_MEAN, IMAGE_STD, Collate, normalize_images


def _sample(height, width, image_id="a", count=1):
    return {
        "image": torch.full((3, height, width), 9, dtype=torch.uint8),
        "boxes": torch.tensor([[1.0, 1, 3, 2]]).repeat(count, 1),
        "class_labels": torch.zeros(count, dtype=torch.int64),
        "instance_masks": torch.ones(count, height, width, dtype=torch.bool),
        "rotated_boxes": torch.zeros(2, 5),
        "rotated_class_labels": torch.zeros(2, dtype=torch.int64),
        "semantic_labels": torch.ones(height, width, dtype=torch.int64),
        "image_id": image_id,
        "dataset": "d",
        "orig_size": (80, 90),
        "dropped": {"crowd": 1},
        "num_redrawn": 2,
    }


def test_images_are_padded_to_the_fixed_size_in_order():
    batch = Collate(16)([_sample(8, 16, "a"), _sample(16, 4, "b"), _sample(16, 16, "c")])
    assert batch["pixel_values"].shape == (3, 3, 16, 16)
    assert batch["pixel_values"].dtype == torch.uint8
    assert (batch["pixel_values"].flatten(1) > 0).sum(1).tolist() == [384, 192, 768]
    assert (batch["pixel_values"][1, :, :, :4] == 9).all()
    assert [label["image_id"] for label in batch["labels"]] == ["a", "b", "c"]
    assert [label["size"] for label in batch["labels"]] == [(8, 16), (16, 4), (16, 16)]


def test_without_a_size_the_canvas_is_the_next_multiple():
    batch = Collate(size_divisor=32)([_sample(33, 20), _sample(10, 40)])
    assert batch["pixel_values"].shape == (2, 3, 64, 64)


def test_label_maps_are_padded_with_their_own_values():
    label = Collate(16)([_sample(8, 12)])["labels"][0]
    assert label["semantic_labels"].shape == (16, 16)
    assert (label["semantic_labels"][:8, :12] == 1).all()
    assert label["semantic_labels"].eq(255).sum() == 256 - 96
    assert label["instance_masks"].shape == (1, 16, 16)
    assert label["instance_masks"].sum() == 96


def test_labels_keep_everything_but_the_image():
    sample = _sample(8, 12)
    label = Collate(16)([sample])["labels"][0]
    assert set(label) == set(sample) - {"image"} | {"size"}
    assert torch.equal(label["boxes"], sample["boxes"])
    assert label["num_redrawn"] == 2


def test_absent_kinds_stay_absent_and_empty_kinds_stay_empty():
    sample = _sample(8, 12, count=0)
    del sample["semantic_labels"], sample["rotated_boxes"], sample["rotated_class_labels"]
    label = Collate(16)([sample])["labels"][0]
    assert label["instance_masks"].shape == (0, 16, 16)
    assert "semantic_labels" not in label
    assert "rotated_boxes" not in label


def test_content_size_of_padded_samples_is_kept():
    sample = {**_sample(16, 16), "size": (8, 12)}
    assert Collate(16)([sample])["labels"][0]["size"] == (8, 12)


def test_samples_are_not_changed():
    sample = _sample(8, 12)
    Collate(16)([sample])
    assert sample["semantic_labels"].shape == (8, 12)


def _pair(height, width, value=1):
    return {
        "image": torch.full((3, height, width), 9, dtype=torch.uint8),
        "image_post": torch.full((3, height, width), 8, dtype=torch.uint8),
        "change_labels": torch.full((height, width), value, dtype=torch.int64),
        "image_id": "p",
        "dataset": "d",
        "orig_size": (height, width),
    }


def test_both_pictures_of_a_pair_are_padded_alike():
    batch = Collate(16)([_pair(8, 12), _pair(16, 16, 0)])
    assert batch["pixel_values_post"].shape == batch["pixel_values"].shape == (2, 3, 16, 16)
    assert (batch["pixel_values_post"][0, :, :8, :12] == 8).all()
    assert (batch["pixel_values_post"].flatten(1) > 0).sum(1).tolist() == [288, 768]
    assert batch["labels"][0]["change_labels"].eq(255).sum() == 256 - 96
    assert batch["labels"][1]["change_labels"].eq(0).all()
    assert "image_post" not in batch["labels"][0]


def test_labels_of_scenes_are_stacked():
    samples = [{**_pair(8, 8), "label": torch.tensor(k)} for k in (3, 0)]
    batch = Collate(8)(samples)
    assert batch["image_labels"].tolist() == [3, 0]
    assert "label" not in batch["labels"][0]
    assert "image_labels" not in Collate(8)([_pair(8, 8)])


def test_a_batch_with_and_without_labels_is_an_error():
    labelled = {**_pair(8, 8), "label": torch.tensor(0), "image_id": "q"}
    with pytest.raises(ValueError, match=r"\['p'\] of a batch have no label"):
        Collate(8)([labelled, _pair(8, 8)])
    alone = {key: value for key, value in _pair(8, 8).items() if key != "image_post"}
    with pytest.raises(ValueError, match="no image_post"):
        Collate(8)([alone, _pair(8, 8)])


def test_maps_of_the_stored_size_stay_as_they_are():
    sample = {**_pair(32, 32), "change_labels": torch.ones(12, 12, dtype=torch.int64)}
    assert Collate(32)([sample])["labels"][0]["change_labels"].shape == (12, 12)


def test_maps_of_another_size_cannot_follow_padding():
    sample = {**_pair(8, 8), "change_labels": torch.ones(12, 12, dtype=torch.int64)}
    with pytest.raises(ValueError, match=r"p: change_labels is \(12, 12\) .* \(8, 8\)"):
        Collate(16)([sample])


def test_images_that_do_not_fit_and_empty_batches_are_errors():
    with pytest.raises(ValueError, match="17x4"):
        Collate(16)([_sample(17, 4)])
    with pytest.raises(ValueError, match="zero samples"):
        Collate(16)([])


def test_collate_can_be_sent_to_a_worker():
    assert pickle.loads(pickle.dumps(Collate(16))).image_size == 16


def test_normalisation_by_hand():
    pixel_values = torch.tensor([255, 0, 100], dtype=torch.uint8)[None, :, None, None]
    expected = [(v - m) / s for v, m, s in zip((255, 0, 100), IMAGE_MEAN, IMAGE_STD, strict=True)]
    out = normalize_images(pixel_values, [(1, 1)])
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.flatten(), torch.tensor(expected))


def test_padding_is_exact_zeros_after_normalisation():
    pixel_values = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    before = pixel_values.clone()
    out = normalize_images(pixel_values, [(8, 5), (3, 8)])
    assert (out[0, :, :, 5:] == 0).all()
    assert (out[1, :, 3:] == 0).all()
    assert (out[0, :, :, :5] != 0).all()
    assert torch.equal(out.count_nonzero(dim=(1, 2, 3)), torch.tensor([120, 72]))
    assert torch.equal(pixel_values, before)
