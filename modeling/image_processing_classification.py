"""Images into the input of scene classification: short side to 256, centre 224 x 224, normalised.

Mean and standard deviation are in gray levels 0 to 255; there is no rescaling to 0..1.

Source: test pipeline of the original's scene classification (spec 3.1).
"""

from typing import Any

from torch import Tensor
from torchvision.transforms.v2 import functional as tvf
from transformers import AutoImageProcessor, BatchFeature
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling, SizeDict

from .image_processing_mtp import check_range


class ClassificationImageProcessor(TorchvisionBackend):
    """Prepare images of any size for models that name a scene.

    Args:
        size: `shortest_edge` in pixels, by bicubic interpolation with the aspect ratio kept.
        crop_size: `height` and `width` of the centre that is left.
    """

    resample = PILImageResampling.BICUBIC
    size = {"shortest_edge": 256}
    default_to_square = False
    crop_size = {"height": 224, "width": 224}
    image_mean = [123.675, 116.28, 103.53]
    image_std = [58.395, 57.12, 57.375]
    do_convert_rgb = True
    do_resize = True
    do_center_crop = True
    do_rescale = False
    do_normalize = True

    def _preprocess(  # type: ignore[override]
        self, images: list[Tensor], **kwargs: Any
    ) -> BatchFeature:
        """Check the values of images (3, H, W) before they are resized."""
        for image in images:
            check_range(image)
        return super()._preprocess(images, **kwargs)

    def center_crop(  # type: ignore[override]  # tensors, as the backend's own
        self, image: Tensor, size: SizeDict, **kwargs: object
    ) -> Tensor:
        """Cut the centre of (3, H, W); half a pixel goes to the even side, as in the original."""
        return tvf.center_crop(image, [int(size.height or 0), int(size.width or 0)])


# Under its own name instead of a config, as `MTPImageProcessor`.
AutoImageProcessor.register(
    ClassificationImageProcessor,
    image_processor_classes={"torchvision": ClassificationImageProcessor},
    exist_ok=True,
)
