"""Pictures as paths, bytes and arrays."""

import numpy as np
import pytest

from mtp_hf.datasets_command.pictures import PictureError, hash_file, open_picture, read_header
from tests.datasets_command.made_sets import write_noise


@pytest.fixture
def path(tmp_path):
    write_noise(tmp_path / "a.png", (30, 20))
    return tmp_path / "a.png"


def test_a_file_is_not_hashed_and_bytes_are(path):
    content = path.read_bytes()
    of_file = read_header(str(path))
    of_bytes = read_header({"path": "a.png", "bytes": content})
    assert of_file[:3] == of_bytes[:3] == (30, 20, len(content))
    assert (of_file.path, of_file.digest) == (str(path), None)
    assert of_bytes.digest == hash_file(str(path))


def test_an_array_has_its_last_two_sides_and_a_hash():
    bands = np.arange(13 * 4 * 6, dtype=np.uint16).reshape(13, 4, 6)
    header = read_header(bands)
    assert (header.width, header.height, header.num_bytes) == (6, 4, 13 * 4 * 6 * 2)
    assert header.digest == read_header(bands.copy()).digest
    assert header.digest != read_header(bands + 1).digest


def test_hashes_tell_contents_apart(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"x" * 2_999_999 + b"y")
    (tmp_path / "c").write_bytes(b"x" * 3_000_000)
    first, other, same = (hash_file(str(tmp_path / name)) for name in "abc")
    assert first == same != other


@pytest.mark.parametrize("read", [read_header, open_picture])
def test_a_file_that_is_no_picture_is_an_error_that_names_it(tmp_path, read):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(PictureError, match=r"a\.png: (no picture|damaged) \("):
        read(str(tmp_path / "a.png"))
    with pytest.raises(PictureError, match=r"gone\.png: "):
        read(str(tmp_path / "gone.png"))


def test_damage_in_the_pixels_is_found_by_decoding_only(path):
    content = path.read_bytes()
    path.write_bytes(content[:-200] + b"\0" * 200)
    assert read_header(str(path)).width == 30
    with pytest.raises(PictureError, match=r"a\.png: damaged"):
        read_header(str(path), decode=True)


def test_a_decoded_picture_stays_when_its_file_is_closed(path):
    picture = open_picture({"path": None, "bytes": path.read_bytes()})
    assert picture.size == (30, 20)
    assert np.asarray(picture).shape == (20, 30, 3)
