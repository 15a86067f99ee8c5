"""Images of a test set."""

import pytest
from PIL import Image


@pytest.fixture
def images(tmp_path):
    """Two images of a test set."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("1", "2"):
        Image.new("RGB", (12, 10)).save(folder / f"{name}.png")
    return folder
