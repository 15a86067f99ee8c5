"""What is wrong with an archive for the server of LoveDA: one map an image.

Source: rules of the server of LoveDA.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mtp_hf.dataset_scripts.class_names import LOVEDA_CLASSES
from mtp_hf.submissions.archives import name_problems, read_members
from mtp_hf.submissions.places import Size


def loveda_problems(
    path: Path, sizes: Mapping[str, Size] | None, counts: Counter[str]
) -> Iterator[str]:
    """List what is wrong.

    Args:
        path: of the archive.
        sizes: of the test images by name; None: not known.
        counts: gets what is in it.
    """
    members = read_members(path)
    if sizes is not None:
        names = [f"{stem}.png" for stem in sizes]
        yield from name_problems(members, names, f"not among the {len(names)} images")
    for name, content in members.items():
        stem = name.removesuffix(".png")
        if sizes is None and (stem == name or not stem.isdigit()):
            yield f"{name}: unexpected; expected <number>.png, in no folder"
        elif sizes is None or (stem != name and stem in sizes):
            counts["maps"] += 1
            size = None if sizes is None else sizes[stem]
            yield from (f"{name}: {problem}" for problem in _map_problems(content, size))
    if not members:
        yield "no file"


def _map_problems(content: bytes, size: Size | None) -> Iterator[str]:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        yield f"no picture: {error}"
        return
    if picture.mode != "L" or picture.format != "PNG":
        yield f"{picture.format} of mode {picture.mode!r}; expected png of 8-bit gray"
        return
    if size is not None and (picture.height, picture.width) != size:
        yield f"{picture.width} x {picture.height}; the image has {size[1]} x {size[0]}"
    highest = len(LOVEDA_CLASSES) - 1
    if int(np.asarray(picture).max()) > highest:
        yield f"values up to {int(np.asarray(picture).max())}; expected 0 to {highest}"
