"""Claims about the check of archives for the server of LoveDA."""

import numpy as np
import pytest

from tests.submissions.made_files import png, refused, zipped


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(np.full((10, 12), 7)), "values up to 7; expected 0 to 6"),
        (png(np.zeros((12, 10))), "10 x 12; the image has 12 x 10"),
        (png(np.zeros((10, 12)), "RGB"), "mode 'RGB'"),
        (b"no png", "no picture"),
    ],
)
def test_a_wrong_map_is_named(tmp_path, images, content, message):
    contents = {"1.png": content, "2.png": png(np.zeros((10, 12)))}
    text = refused(zipped(tmp_path / "a.zip", contents), "loveda", images)
    assert f"1.png: {message}" in text or ("1.png: " in text and message in text)
    assert "2.png" not in text
