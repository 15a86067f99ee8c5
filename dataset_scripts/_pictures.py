"""Columns of the picture of a row, whatever its file holds.

A file that the `Image` column shows as it is, is given as it is, and only its header is read.
Values of more than 8 bits, which the column would cut off, are stretched picture by picture; of
many bands three are chosen. Such pictures are stored as PNG, equal to what the tiles of the same
file show.

A picture that its EXIF orientation turns is stored turned: the programs that people draw boxes with
show it so, and not every reader does.
"""

from dataclasses import dataclass
from typing import Any

from mtp_hf.dataset_scripts._builder import FilesConfig
from mtp_hf.dataset_scripts._change_maps import encode_png
from mtp_hf.dataset_scripts._rasters import Raster
from mtp_hf.dataset_scripts._readers import read_image_header

NUM_COLORS = 3


@dataclass
class PicturesConfig(FilesConfig):
    """Options of sets whose pictures may be of any kind.

    Attributes:
        bands: three numbers from 1, the bands that become red, green and blue; None for the first
            three of up to four. Values of more than 8 bits are stretched picture by picture.
    """

    bands: list[int] | None = None

    def check_options(self) -> None:
        """Refuse bands that are no picture."""
        super().check_options()
        if self.bands is not None and len(self.bands) != NUM_COLORS:
            raise ValueError(f"bands={self.bands}; expected the numbers of {NUM_COLORS}")


def picture_columns(
    image_id: str, path: str, *, bands: list[int] | None = None, max_pixels: int
) -> dict[str, Any]:
    """Columns of a picture: id, file or 8-bit RGB, width and height.

    Raises:
        AnnotationError: the file is no image, is damaged, too large, or lacks the bands.
        MissingFileError: it is not there.
    """
    header = None if bands else read_image_header(path, max_pixels)
    if header is not None and header.is_plain:
        image: Any = path
        height, width = header.height, header.width
    else:
        with Raster(path, max_pixels=max_pixels) as raster:
            height, width = raster.height, raster.width
            pixels = raster.read_rgb(bands=bands)
        image = {"path": f"{image_id}.png", "bytes": encode_png(pixels)}
    return {"image_id": image_id, "image": image, "width": width, "height": height}
