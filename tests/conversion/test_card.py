"""Claims about the card of a converted checkpoint."""

import pytest
from huggingface_hub import ModelCard

from mtp_hf.conversion.card import render_card
from mtp_hf.conversion.convert import convert_state_dict
from tests.conversion.tiny_originals import tiny_original


def _card(name):
    conversion = convert_state_dict(tiny_original(name))
    return render_card(conversion.report, conversion.config, "x.pth", "lab/net")


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("backbone", "image-feature-extraction"),
        ("faster_rcnn", "object-detection"),
        ("upernet", "image-segmentation"),
        ("classifier", "image-classification"),
        ("siamese_unet", None),
        ("mtp_pretraining", None),
    ],
)
def test_front_matter_names_the_task_where_the_hub_has_a_word_for_it(name, tag):
    data = ModelCard(_card(name)).data
    assert data.pipeline_tag == tag
    assert data.library_name == "transformers"


def test_card_says_where_the_weights_are_from_and_what_was_assumed():
    card = _card("siamese_unet")
    assert "original's `x.pth`" in card
    assert 'SiameseUNetForChangeDetection.from_pretrained("lab/net")' in card
    assert 'processor(Image.open("before.png"), Image.open("after.png")' in card
    assert "unchanged, changed" in card
    assert "tensors converted" in card and "assumed: out_indices" in card


def test_card_of_a_backbone_has_no_classes():
    assert "## Classes" not in _card("backbone")
