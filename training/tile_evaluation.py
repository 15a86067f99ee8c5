"""Scoring of whole images where a network sees tiles of them.

Rows of tiles say where they were cut. The detections of all tiles of an image are moved into its
pixels, merged inside each class, and compared with the objects of the whole image.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mtp_hf.data.samples import read_oriented_objects
from mtp_hf.data.transforms import DropDegenerate, finalize
from mtp_hf.metrics.finetuning import TaskEvaluator
from mtp_hf.pipelines.detections import Detections, merge_detections, shift_detections
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.finetuning_data import open_rows
from mtp_hf.training.loop import Inputs
from mtp_hf.training.tasks import evaluation_arguments

TILES = "_tiles"
# Options that configs of whole images do not have.
TILE_OPTIONS = ("tile_size", "overlap", "scales", "keep_empty", "min_kept", "min_image")


def with_all_tiles(recipe: FinetuneRecipe) -> FinetuneRecipe:
    """Return the recipe with all tiles to measure on, also those without an object.

    Raises:
        ValueError: it does not find rotated boxes in tiles, or leaves some of them out.
    """
    config = _evaluated_config(recipe)
    if recipe.task != "rotated_detection" or not config.endswith(TILES):
        raise ValueError(
            f"--merge_tiles: recipe {recipe.name} measures task={recipe.task} on data.config="
            f"{config or None}; expected rotated_detection on a config *{TILES}"
        )
    if recipe.data.limit_samples or recipe.evaluation.max_samples:
        raise ValueError(
            "--merge_tiles needs all tiles of an image: leave out data.limit_samples and"
            " evaluation.max_samples"
        )
    options = {**recipe.data.options, "keep_empty": True}
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, options=options))


def whole_images(recipe: FinetuneRecipe, num_classes: int) -> dict[str, dict[str, Any]]:
    """Read the objects of the whole images that the tiles of a recipe are cut from.

    Args:
        recipe: of tiles.
        num_classes: K, to check the labels.

    Returns:
        For each image its `image_id` and objects, by `image_id`, without degenerate ones where the
        recipe drops them.

    Raises:
        ValueError: images that have one name.
    """
    config = _evaluated_config(recipe).removesuffix(TILES)
    options = {k: value for k, value in recipe.data.options.items() if k not in TILE_OPTIONS}
    data = dataclasses.replace(recipe.data, evaluate_config=config, options=options)
    rows = open_rows(dataclasses.replace(recipe, data=data), "validation")
    drop = evaluation_arguments(recipe).get("drop_degenerate", False)
    references, rng = {}, np.random.default_rng(0)  # which nothing here draws from
    for row in rows.select_columns(["image_id", "objects"]):
        kept: Any = read_oriented_objects(row, num_classes)
        kept = DropDegenerate()(kept, rng) if drop else kept
        objects = finalize(kept, rng)
        references[str(row["image_id"])] = {"image_id": str(row["image_id"]), **objects}
    if len(references) < len(rows):
        raise ValueError(
            f"--merge_tiles: {len(rows)} images of split {recipe.data.evaluate!r} have"
            f" {len(references)} names; measure splits that are joined one at a time"
        )
    return references


def keep_origin(predictions: list[dict[str, Any]], inputs: Inputs) -> list[dict[str, Any]]:
    """Give predictions of tiles where they were cut, as `tile`."""
    pairs = zip(predictions, inputs["labels"], strict=True)
    return [{**prediction, "tile": label["tile"]} for prediction, label in pairs]


class MergedTilesEvaluator:
    """Gather the tiles of images and score the images.

    Args:
        evaluator: an empty one, of whole images.
        references: see `whole_images`.
        iou_threshold: overlap with a better detection of the class that is still allowed.
    """

    def __init__(
        self,
        evaluator: TaskEvaluator,
        references: Mapping[str, Mapping[str, Any]],
        iou_threshold: float,
    ) -> None:
        self.evaluator, self.references = evaluator, references
        self.iou_threshold = iou_threshold
        self.tiles: dict[str, dict[str, Any]] = {}

    def update(
        self, dataset: str, predictions: Sequence[Any], references: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add tiles; one that was added before is left out.

        Args:
            dataset: name of the data set.
            predictions: of each tile, with `tile` as `keep_origin` gives it.
            references: of each tile, its `image_id`.

        Raises:
            ValueError: a tile of an image that is not among the whole ones.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            tile = prediction["tile"]
            if tile["source_id"] not in self.references:
                raise ValueError(
                    f"{dataset}: tile {reference['image_id']!r} is of image"
                    f" {tile['source_id']!r}, which is not among the {len(self.references)} images"
                )
            self.tiles.setdefault(reference["image_id"], prediction)

    def state(self) -> dict[str, dict[str, Any]]:
        """Give what was gathered, to be sent to another process."""
        return self.tiles

    def merge(self, states: Iterable[Mapping[str, dict[str, Any]]]) -> None:
        """Add what other processes gathered; tiles that are here already count once."""
        for state in states:
            self.tiles = {**state, **self.tiles}

    def compute(self) -> dict[str, Any]:
        """Merge the tiles of each image and score.

        Raises:
            ValueError: an image without a tile.
        """
        parts: dict[str, list[Detections]] = defaultdict(list)
        for name in sorted(self.tiles):  # the order breaks ties, whoever predicted which tile
            found = self.tiles[name]
            tile = found["tile"]
            detections = {key: values for key, values in found.items() if key != "tile"}
            parts[tile["source_id"]].append(shift_detections(detections, tile["x"], tile["y"]))
        for image_id, reference in self.references.items():
            if image_id not in parts:
                raise ValueError(f"image {image_id!r}: none of its tiles was measured")
            merged = merge_detections(parts[image_id], self.iou_threshold)
            self.evaluator.update("", [merged], [reference])
        return self.evaluator.compute()


def _evaluated_config(recipe: FinetuneRecipe) -> str:
    return recipe.data.evaluate_config or recipe.data.config or ""
