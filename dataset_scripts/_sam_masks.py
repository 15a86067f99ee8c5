"""Masks of objects from their boxes, by a Segment Anything model of transformers.

The picture is encoded once, then boxes are decoded in batches. SAM, SAM-HQ and SAM 2 have the same
interface but for what the encoder hands on.

Source: Kirillov et al. 2023 (SAM), Ke et al. 2023 (SAM-HQ), Ravi et al. 2024 (SAM 2); box prompts
with one mask each as in SAMRS (Wang et al. 2023).
"""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForMaskGeneration, AutoProcessor


class SamMasks:
    """Ask a Segment Anything model for the objects in boxes.

    Args:
        checkpoint: name on the Hub, or a folder.
        device: where it runs.
        boxes_per_batch: boxes that are decoded at once; 20 in SAMRS.
        is_multimask: decode three masks a box and take the one that the model rates best, instead
            of the one for prompts without ambiguity.

    Raises:
        OSError: there is no such checkpoint.
        ValueError: it is no Segment Anything model.
    """

    def __init__(
        self,
        checkpoint: str,
        *,
        device: str = "cpu",
        boxes_per_batch: int = 20,
        is_multimask: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.boxes_per_batch = boxes_per_batch
        self.is_multimask = is_multimask
        model = AutoModelForMaskGeneration.from_pretrained(checkpoint)
        self.model = model.to(self.device).eval()
        self.processor = AutoProcessor.from_pretrained(checkpoint)

    @torch.inference_mode()
    def find(
        self, image: Image.Image, boxes: list[list[float]]
    ) -> Iterator[tuple[np.ndarray, float]]:
        """Masks of a picture's objects.

        Args:
            image: RGB.
            boxes: N of x1, y1, x2, y2 in pixels; they may leave the picture.

        Yields:
            A mask (H, W) of bool and the model's own rating of it, for each box.
        """
        inputs = self.processor(images=image, input_boxes=[boxes], return_tensors="pt")
        inputs = inputs.to(self.device)
        encoded = self.model.get_image_embeddings(inputs["pixel_values"])
        # SAM-HQ also hands on what its early layers saw.
        names = ("image_embeddings", "intermediate_embeddings")
        encoded = encoded if isinstance(encoded, tuple) else (encoded,)
        features = dict(zip(names, encoded, strict=False))
        sizes = [inputs[k] for k in ("original_sizes", "reshaped_input_sizes") if k in inputs]
        for prompts in inputs["input_boxes"].float().split(self.boxes_per_batch, dim=1):
            found = self.model(input_boxes=prompts, multimask_output=self.is_multimask, **features)
            scores, best = found.iou_scores[0].float().max(dim=1)  # (N, 1 or 3) -> (N,)
            chosen = torch.arange(len(best), device=best.device)
            low_resolution = found.pred_masks[:, chosen, best][:, :, None]  # (1, N, 1, h, w)
            masks = self.processor.post_process_masks(low_resolution, *sizes)[0]
            yield from zip(masks[:, 0].cpu().numpy(), scores.tolist(), strict=True)
