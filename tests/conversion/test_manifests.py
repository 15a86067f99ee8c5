"""All recorded full-size models convert, and no key is left without a reason."""

from mtp_hf.conversion.convert import convert_state_dict
from tests.conversion.manifests import on_meta, read_manifests

# Part of the name of a manifest -> class that it becomes.
MODELS = {
    "faster_rcnn": "FasterRCNNForObjectDetection",
    "oriented_rcnn": "OrientedRCNNForOrientedObjectDetection",
    "retinanet": "RetinaNetForObjectDetection",
    "upernet": "UperNetRSForSemanticSegmentation",
    "unet-": "SiameseUNetForChangeDetection",
    "Scene_Classification": "ForImageClassification",
    "_rvsa_224": "MTPForPreTraining",
    "internimage_xl_448": "MTPForPreTraining",
    "@": "Backbone",
}


def test_every_manifest_becomes_its_model_without_an_unexplained_key(shared_dir):
    count = 0
    for name, keys in read_manifests(shared_dir / "fixtures"):
        conversion = convert_state_dict(on_meta(keys))  # strict: fails on unexplained keys
        expected = next(model for part, model in MODELS.items() if part in name)
        assert conversion.report.model.endswith(expected), name
        assert conversion.report.missing == {}, name
        assert len(conversion.report.fates) == len(keys), name
        conversion.build_model()  # loads strictly
        count += 1
    assert count == 55


def test_sizes_variants_and_classes_are_read_from_the_shapes(shared_dir):
    manifests = dict(read_manifests(shared_dir / "fixtures"))
    found = {
        name: convert_state_dict(on_meta(manifests[name])).config
        for name in ("L@448", "XL@224", "hdet/vit_rvsa_mtp/RVSA_MTP/B@800")
    }
    large, xl, last = found.values()
    assert (large.hidden_size, large.num_hidden_layers, large.num_attention_heads) == (1024, 24, 16)
    assert (large.full_attention_interval, large.image_size) == (6, 448)
    assert (large.feature_variant, large.use_full_attention_rel_pos) == (
        "multi_depth_pyramid",
        True,
    )
    assert list(large.out_indices) == [8, 12, 16, 24]
    assert (xl.depths, xl.num_groups) == ([5, 5, 24, 5], [12, 24, 48, 96])
    assert (xl.offset_scale, xl.post_norm) == (2.0, True)
    assert (last.feature_variant, last.use_full_attention_rel_pos) == ("last_layer_pyramid", False)


def test_heads_have_the_classes_of_their_data_set(shared_dir):
    counts = {"dior": 20, "dotav1": 15, "dotav2": 18, "fair1m": 37, "loveda": 7, "spacenet": 2}
    for name, keys in read_manifests(shared_dir / "fixtures"):
        for part, count in counts.items():
            if f"/{part}" in name:
                assert convert_state_dict(on_meta(keys)).config.num_labels == count, name
