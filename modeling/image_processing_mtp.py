"""Images into the input of the pretraining model: fitted into a square, normalised, padded.

The same arithmetic as validation during training: 8-bit bilinear resizing without antialiasing,
mean and standard deviation in gray levels 0 to 255 (there is no rescaling to 0..1), and zeros as
padding, right and bottom, after normalisation.

    inputs = processor(images, return_tensors="pt")      # pixel_values, sizes, target_sizes
    predictions = model.predict(**inputs, datasets="sior")

Source: preprocessor of the original pretraining (original spec 2.7, 2.9).
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoImageProcessor, BatchFeature, ImagesKwargs
from transformers.image_processing_backends import TorchvisionBackend
from transformers.image_utils import PILImageResampling, SizeDict

from .image_sizes import Size, Sizes, read_size
from .ops_boxes import rescale_boxes
from .ops_rotated_boxes import rescale_rotated_boxes


class MTPImageProcessorKwargs(ImagesKwargs, total=False):
    """Options beyond those of every image processor.

    Args:
        size_divisor: sides of the padded batch are multiples of this.
    """

    size_divisor: int


class MTPImageProcessor(TorchvisionBackend):
    """Prepare images of any size and bring predictions back to their pixels.

    Args:
        size: `height` and `width` of the square that an image is fitted into, aspect ratio kept;
            smaller images are enlarged. The published encoders were trained at 224 (base) and 448
            (large).
        size_divisor: padding to multiples of this.
        pad_size: pad to this size instead.
    """

    valid_kwargs = MTPImageProcessorKwargs
    model_input_names = ["pixel_values", "sizes"]

    resample = PILImageResampling.BILINEAR
    size = {"height": 448, "width": 448}
    default_to_square = True
    image_mean = [123.675, 116.28, 103.53]
    image_std = [58.395, 57.12, 57.375]
    do_convert_rgb = True
    do_resize = True
    do_rescale = False
    do_normalize = True
    do_pad = True
    size_divisor = 32
    keep_aspect_ratio = True  # by class: processors of other tasks stretch images to the size

    def _preprocess(  # type: ignore[override]
        self,
        images: list[Tensor],
        do_resize: bool,
        size: SizeDict,
        do_normalize: bool,
        image_mean: list[float],
        image_std: list[float],
        do_pad: bool,
        pad_size: SizeDict | None,
        size_divisor: int,
        return_tensors: str | None,
        **kwargs: object,
    ) -> BatchFeature:
        """Resize, normalise and pad images (3, H, W) with values 0 to 255."""
        originals = [_height_width(image) for image in images]
        for image in images:
            check_range(image)
        if do_resize:
            box = (int(size.height or 0), int(size.width or 0))
            if self.keep_aspect_ratio:
                wanted = [fitted_size(size, box) for size in originals]
            else:
                wanted = [box] * len(images)
            images = [_resize(*pair) for pair in zip(images, wanted, strict=True)]
        sizes = [_height_width(image) for image in images]
        if do_normalize:
            images = [self.normalize(image.float(), image_mean, image_std) for image in images]
        if do_pad:
            height, width = _canvas(sizes, size_divisor)
            canvas = pad_size or SizeDict(height=height, width=width)
            images = list(self.pad(images, canvas))
        data = {"pixel_values": images, "sizes": sizes, "target_sizes": originals}
        return BatchFeature(data=data, tensor_type=return_tensors)

    def post_process(
        self,
        predictions: list[dict[str, dict[str, Tensor]]],
        sizes: Sizes,
        target_sizes: Sizes,
        score_threshold: float = 0.0,
    ) -> list[dict[str, dict[str, Tensor]]]:
        """Bring predictions made in pixels of the network input to pixels of other images.

        `model.predict` does this itself, with finer maps and masks, when it is given
        `target_sizes`.

        Args:
            predictions: of `model.predict` without `target_sizes`.
            sizes: content (height, width) of each image in the network input.
            target_sizes: (height, width) wanted.
            score_threshold: detections below it are left out.

        Returns:
            The same tasks and keys.
        """
        converted = []
        for tasks, size, target in zip(predictions, sizes, target_sizes, strict=True):
            content, wanted = read_size(size), read_size(target)
            converted.append(
                {
                    task: _convert(prediction, content, wanted, score_threshold)
                    for task, prediction in tasks.items()
                }
            )
        return converted


def fitted_size(size: Size, box: Size) -> Size:
    """Return the largest (height, width) of the same aspect ratio that fits into a box."""
    factor = min(box[0] / size[0], box[1] / size[1])
    return max(int(size[0] * factor + 0.5), 1), max(int(size[1] * factor + 0.5), 1)


def check_range(image: Tensor) -> None:
    """Refuse an image (C, H, W) of other values than gray levels, or without three colours.

    Raises:
        ValueError: no value of a float image is above 1, or the channels are not three.
    """
    if image.is_floating_point() and 0 < image.max() <= 1:
        raise ValueError(
            f"an image of {image.dtype} has no value above 1; expected gray levels from 0 to 255"
        )
    if image.shape[0] != 3:
        raise ValueError(f"expected an RGB image, got one of {image.shape[0]} channels")


def _convert(
    prediction: dict[str, Tensor], size: Size, target_size: Size, score_threshold: float
) -> dict[str, Tensor]:
    if "semantic_map" in prediction:
        return {"semantic_map": _resize_labels(prediction["semantic_map"][None], target_size)[0]}
    keep = prediction["scores"] >= score_threshold
    converted = {name: tensor[keep] for name, tensor in prediction.items()}
    if "boxes" in converted:
        converted["boxes"] = rescale_boxes(converted["boxes"], size, target_size)
    if "rotated_boxes" in converted:
        rotated_boxes = converted["rotated_boxes"]
        converted["rotated_boxes"] = rescale_rotated_boxes(rotated_boxes, size, target_size)
    if "masks" in converted:
        converted["masks"] = _resize_labels(converted["masks"], target_size)
    return converted


def _resize_labels(maps: Tensor, size: Size) -> Tensor:
    """Take the label under the centre of each new pixel: (N, h, w) -> (N, *size)."""
    rows, cols = (
        ((torch.arange(new, device=maps.device) + 0.5) * (old / new)).long()
        for old, new in zip(maps.shape[1:], size, strict=True)
    )
    return maps[:, rows[:, None], cols]


def _resize(image: Tensor, size: Size) -> Tensor:
    if _height_width(image) == size:
        return image
    return F.interpolate(image[None], size, mode="bilinear", antialias=False)[0]


def _canvas(sizes: list[Size], divisor: int) -> Size:
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def _height_width(image: Tensor) -> Size:
    return int(image.shape[-2]), int(image.shape[-1])


# Under its own name instead of a config: a config imported here would travel with the processor,
# and transformers, which imports the code of a local folder once per file it starts from, would
# then know two classes of that config, of which the model accepts one.
AutoImageProcessor.register(
    MTPImageProcessor, image_processor_classes={"torchvision": MTPImageProcessor}, exist_ok=True
)
