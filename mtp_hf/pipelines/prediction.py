"""`mtp_hf.predict`: what a finetuned network finds in images, in their own pixels.

Images are prepared as the network's evaluation prepares them, padding included, and one after the
other, so that a prediction does not depend on the images beside it. Those smaller than the backbone
takes are padded further, and read as one window.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    BaseImageProcessor,
    PreTrainedConfig,
    PreTrainedModel,
)

from mtp_hf import modeling
from mtp_hf.hub.whole_model import load_whole
from mtp_hf.pipelines.picture_input import read_picture
from mtp_hf.pipelines.small_images import pad_small, smallest_side

# End of a model's name -> whether it takes pairs of images, and whether it reads windows.
KINDS = {
    "ForImageClassification": (False, False),
    "ForObjectDetection": (False, False),
    "ForOrientedObjectDetection": (False, False),
    "ForInstanceSegmentation": (False, False),
    "ForSemanticSegmentation": (False, True),
    "ForChangeDetection": (True, True),
}


@torch.no_grad()
def predict(
    model: PreTrainedModel | str | Path,
    image: Any,
    image_post: Any = None,
    *,
    processor: BaseImageProcessor | None = None,
    threshold: float = 0.3,
    window: int | None = None,
    stride: int | None = None,
) -> dict[str, Tensor]:
    """Find in an image, or in a pair, what a network was finetuned for.

    Args:
        model: The network, or the folder or Hub id it is loaded from.
        image: PIL image, file, address, uint8 array (H, W, 3) or tensor (3, H, W), turned as its
            EXIF orientation says; for changes, the earlier one.
        image_post: The later one, of the same size.
        processor: Of the images; default: that which lies beside the weights.
        threshold: Detections with lower scores are left out.
        window: Side in pixels of windows that a label map is made by; default: as the network was
            measured, `test_window` of its config, or else the whole image.
        stride: From one window to the next, needed with `window`.

    Returns:
        `scores` (K,) and `label` of a scene; `scores` (n,), `labels` (n,) and `boxes` (n, 4) or
        `rotated_boxes` (n, 5) of objects, best first, and `masks` (n, H, W) where there are some;
        `semantic_map` or `change_map` (H, W) int64. On the device of the network.

    Raises:
        ValueError: The network is of no task that is predicted here, or the images or windows are
            not what it takes.
    """
    if not isinstance(model, PreTrainedModel):
        processor = processor or AutoImageProcessor.from_pretrained(model)
        model = load_network(model)
    name = type(model).__name__
    kind = next((end for end in KINDS if name.endswith(end)), None)
    if kind is None:
        raise ValueError(f"{name} is none of the networks that predict: {', '.join(KINDS)}")
    takes_pairs, reads_windows = KINDS[kind]
    if takes_pairs == (image_post is None):
        expected = "two images, before and after" if takes_pairs else "one image"
        raise ValueError(f"{name} takes {expected}")
    if (window is None) != (stride is None):
        raise ValueError(f"window {window} and stride {stride}: give both or none")
    if window is not None and not reads_windows:
        raise ValueError(f"{name} reads no windows: they belong to networks that label pixels")
    if window is None and reads_windows:
        window, stride = model.config.test_window, model.config.test_stride
    windows = {} if window is None else {"window": (window,) * 2, "stride": (stride,) * 2}
    processor = processor or _processor_beside(model)
    images = [read_picture(each) for each in (image, image_post) if each is not None]
    pad = {} if kind == "ForImageClassification" else {"do_pad": True}
    inputs = processor(*images, return_tensors="pt", **pad).to(model.device, model.dtype)
    with _evaluating(model):
        if kind == "ForImageClassification":
            scores = model(inputs["pixel_values"]).logits[0].float().softmax(dim=0)
            return {"scores": scores, "label": scores.argmax()}
        smallest = smallest_side(model.config)
        if inputs["sizes"].min() < smallest:  # windows have no padding
            windows = {}
        for key in inputs.keys() & {"pixel_values", "pixel_values_post"}:
            inputs[key] = pad_small(inputs[key], smallest)
        (found,) = model.predict(**inputs, **windows)
    if "scores" not in found:
        return found
    keep = found["scores"] >= threshold
    return {key: values[keep] for key, values in found.items()}


def load_network(name: str | Path) -> PreTrainedModel:
    """Load a network of this package from a folder or from the Hub, ready to predict.

    Raises:
        ValueError: Its config names no network of this package, or its weights are not whole.
    """
    config: PreTrainedConfig = AutoConfig.from_pretrained(name)
    (architecture,) = config.architectures or ["none"]
    network_class = getattr(modeling, architecture, None)
    if network_class is None:
        raise ValueError(f"{name}: the network is {architecture}, expected one of mtp_hf")
    return load_whole(network_class, name).eval()


def _processor_beside(model: PreTrainedModel) -> BaseImageProcessor:
    """Load the processor from where a network was loaded from."""
    if not model.name_or_path:
        raise ValueError("the network was loaded from nowhere: give its processor")
    return AutoImageProcessor.from_pretrained(model.name_or_path)


@contextlib.contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Switch dropout and the like off, and afterwards on again where they were on."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
