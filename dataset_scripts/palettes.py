"""Colours of the published pictures, one RGB triple per class id.

Source: the mapping table of the SAMRS generation scripts; the same for all three sets.
"""

SAMRS_PALETTE: list[tuple[int, int, int]] = [
    (0, 127, 255),
    (0, 63, 0),
    (0, 127, 63),
    (0, 63, 255),
    (0, 0, 127),
    (0, 127, 127),
    (0, 0, 63),
    (0, 63, 127),
    (0, 63, 191),
    (0, 191, 127),
    (0, 127, 191),
    (0, 63, 63),
    (0, 100, 155),
    (0, 0, 255),
    (0, 0, 191),
    (64, 191, 127),
    (64, 0, 191),
    (128, 63, 63),
    (128, 0, 63),
    (191, 63, 0),
    (255, 127, 0),
    (63, 0, 0),
    (127, 63, 0),
    (63, 255, 0),
    (0, 127, 0),
    (127, 127, 0),
    (63, 0, 63),
    (63, 127, 0),
    (63, 191, 0),
    (191, 127, 0),
    (127, 191, 0),
    (63, 63, 0),
    (100, 155, 0),
    (0, 255, 0),
    (0, 191, 0),
    (191, 127, 64),
    (0, 191, 64),
]

# Colour of pixels without a class (gray value 255) in the published colour maps.
SAMRS_BACKGROUND_COLOR: tuple[int, int, int] = (255, 255, 255)
