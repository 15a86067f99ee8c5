"""Colours of the published pictures."""

import numpy as np
import pytest
from PIL import Image

from mtp_hf.dataset_scripts.class_names import FAST_CLASSES
from mtp_hf.dataset_scripts.palettes import SAMRS_BACKGROUND_COLOR, SAMRS_PALETTE


def test_palette_has_one_colour_for_every_class_of_the_largest_set():
    assert len(SAMRS_PALETTE) == len(set(SAMRS_PALETTE)) == len(FAST_CLASSES)
    assert SAMRS_BACKGROUND_COLOR not in SAMRS_PALETTE


def test_palette_begins_and_ends_as_published():
    assert SAMRS_PALETTE[0] == (0, 127, 255)
    assert SAMRS_PALETTE[15] == (64, 191, 127)
    assert SAMRS_PALETTE[36] == (0, 191, 64)


def test_colours_are_those_of_the_published_sample_maps(shared_dir):
    folder = shared_dir / "data/samples/samrs/dior/hbox_segs_trainvaltest_init"
    if not folder.is_dir():
        pytest.skip("samples are not here")
    for path in sorted((folder / "gray").iterdir()):
        gray = np.asarray(Image.open(path))
        color = np.asarray(Image.open(folder / "color" / path.name).convert("RGB"))
        for value in np.unique(gray):
            expected = SAMRS_BACKGROUND_COLOR if value == 255 else SAMRS_PALETTE[value]
            assert (color[gray == value] == expected).all()
