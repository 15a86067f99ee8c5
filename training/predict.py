"""Prediction: a folder of images, or a split of a data set, in; results and submissions out.

Large images are cut into windows and what is found in them is merged. Every image is written when
it is done; the same command goes on where it was stopped.
"""

import argparse
import shutil
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from tqdm.auto import tqdm

from mtp_hf.data.collate import Collate
from mtp_hf.detections import TILE_NMS_IOU, box_name, merge_detections, shift_detections
from mtp_hf.submissions.writing import FORMATS, check_classes, write_submission
from mtp_hf.training.augmented_prediction import predict_augmented
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.inference_command import add_model_arguments, read_recipe, user_errors
from mtp_hf.training.model_loading import class_names_of, find_model, load_network
from mtp_hf.training.prediction_records import (
    MAPS_FOLDER,
    RESULTS_FILE,
    SETTINGS_FILE,
    append_record,
    check_settings,
    make_record,
    read_records,
)
from mtp_hf.training.prediction_sources import (
    DETECTION,
    Source,
    WindowRule,
    folder_sources,
    opened,
    recipe_windows,
    split_sources,
)
from mtp_hf.training.processes import set_up_cpu
from mtp_hf.training.recipe import recipe_to_yaml
from mtp_hf.training.run_command import set_up_console
from mtp_hf.training.tasks import find_task, make_transforms
from mtp_hf.training.validation import predict_batch
from mtp_hf.visualize.predictions import draw_prediction

PICTURES_FOLDER = "pictures"
EXAMPLES = """\
examples:
  python training/predict.py --model outputs/dior_r_vit_l_rvsa_mtp/best --images photographs \\
      --output outputs/found
      any images, with the settings of the model's run
  python training/predict.py --model lab/dota-vit-l --recipe rotated_detection/dota_v1 \\
      --result vit_l_rvsa_mtp data.root=/data/dota --split test --format dota --output outputs/dota
      the test images of DOTA, cut and merged as published, and zips for the server
  python training/predict.py --model outputs/loveda/best --images Test/images_png --format loveda \\
      --output outputs/loveda_test
      maps of classes; of change models, --images has the folders A and B
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error in what the user gave ends it with a message."""
    args = parse_arguments(arguments)
    set_up_console()
    with user_errors(args.traceback):
        model = find_model(args.model)
        recipe = read_recipe(args, model)
        if (args.images is None) == (args.split is None):
            raise ValueError("say what to predict: --images FOLDER, or --split of the data set")
        names = class_names_of(model, recipe)
        if args.format != "none":
            check_classes(args.format, names)  # before hours of work for nothing
        if args.images:
            pairs = recipe.task == "change_detection"
            sources = folder_sources(args.images, pairs=pairs)
        else:
            sources = split_sources(recipe)
        rule = window_rule(args, recipe)
        settings = {
            "model": str(model.resolve()),
            "recipe": recipe_to_yaml(recipe),
            "images": str(args.images.resolve()) if args.images else args.split,
            "way to cut images": repr(rule),
        }
        prepare_folder(args.output, settings, overwrite=args.overwrite)
        predictor = Predictor(recipe, model, names, rule)
        skipped = predict_all(predictor, sources, args)
        records = {record["image_id"]: record for record in read_records(args.output)}
        print(f"{len(records)} images predicted, {skipped} skipped: {args.output / RESULTS_FILE}")
        if args.format != "none":
            if skipped:
                print(f"{skipped} images are missing in the files for the server")
            kept = [records[each.image_id] for each in sources if each.image_id in records]
            for file in write_submission(args.format, kept, names, args.output):
                print(f"wrote {file}")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python training/predict.py",
        description="Predict images with a finished model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    add = parser.add_argument
    add("--images", type=Path, metavar="FOLDER", help="images; of pairs a folder with A and B")
    add("--output", type=Path, required=True, metavar="FOLDER", help="gets everything")
    add("--overwrite", action="store_true", help="remove results that are in the output folder")
    add("--format", choices=["none", *FORMATS], default="none", help="also write for a server")
    add("--draw", type=int, default=20, metavar="N", help="images to draw at most (default: 20)")
    add("--on_error", choices=["raise", "skip"], default="raise", help="for images with damage")
    add("--tile_size", type=int, metavar="PX", help="window; 0: whole (default: as in training)")
    add("--overlap", type=int, default=200, metavar="PX", help="with --tile_size (default: 200)")
    add("--scales", type=float, nargs="+", default=[1.0], help="with --tile_size (default: 1)")
    return parser.parse_intermixed_args(arguments)  # key=value before and after options


def window_rule(args: argparse.Namespace, recipe: FinetuneRecipe) -> WindowRule | None:
    """Return how images are cut: as the command line says, else as those of training.

    Raises:
        ValueError: windows that cannot be, or for a task that is not one of boxes.
    """
    if args.tile_size is None:
        return recipe_windows(recipe)
    if args.tile_size == 0:
        return None
    if recipe.task not in DETECTION:
        raise ValueError(
            f"--tile_size is for detection; windows of {recipe.task} are evaluation.window and"
            " evaluation.stride"
        )
    if not 0 <= args.overlap < args.tile_size or min(args.scales) <= 0:
        raise ValueError(
            f"--tile_size {args.tile_size} --overlap {args.overlap} --scales {args.scales}:"
            " expected 0 <= overlap < tile_size and scales above 0"
        )
    return WindowRule(args.tile_size, args.overlap, tuple(args.scales))


def prepare_folder(folder: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Make the output folder, and see that results in it are made alike."""
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        for name in (RESULTS_FILE, SETTINGS_FILE):
            (folder / name).unlink(missing_ok=True)
        for name in (MAPS_FOLDER, PICTURES_FOLDER):
            shutil.rmtree(folder / name, ignore_errors=True)
    check_settings(folder, settings)


def predict_all(predictor: "Predictor", sources: Sequence[Source], args: argparse.Namespace) -> int:
    """Predict all images that have no result yet, and write each when it is done.

    Returns:
        How many were skipped because of an error.
    """
    folder, skipped = args.output, 0
    done = {record["image_id"] for record in read_records(folder)}
    drawn = len(list((folder / PICTURES_FOLDER).glob("*.png")))
    waiting = [source for source in sources if source.image_id not in done]
    if done:
        print(f"{len(sources) - len(waiting)} of {len(sources)} images have results already")
    for source in tqdm(waiting, desc="images", unit="image", dynamic_ncols=True):
        stem = source.image_id.replace("/", "_")
        try:
            size, found = predictor.predict(source)
        except (ValueError, OSError) as error:
            if args.on_error == "raise":
                raise ValueError(
                    f"image {source.image_id!r} ({source.file_name}): {error}"
                ) from None
            tqdm.write(f"skipped image {source.image_id!r}: {error}")
            skipped += 1
            continue
        if drawn < args.draw:
            (folder / PICTURES_FOLDER).mkdir(exist_ok=True)
            predictor.draw(source, found).save(folder / PICTURES_FOLDER / f"{stem}.png")
            drawn += 1
        record = make_record(predictor.recipe.task, found, predictor.class_names, folder, stem)
        about = {"image_id": source.image_id, "file_name": source.file_name}
        append_record(folder, {**about, "width": size[1], "height": size[0], **record})
    return skipped


class Predictor:
    """A model with all that turns images into its inputs.

    Args:
        recipe: task and settings of evaluation.
        model: folder of the model.
        class_names: K names.
        rule: how images are cut; None: whole.
    """

    def __init__(
        self,
        recipe: FinetuneRecipe,
        model: Path,
        class_names: Sequence[str],
        rule: WindowRule | None,
    ) -> None:
        self.recipe, self.class_names, self.rule = recipe, class_names, rule
        self.task = find_task(recipe)
        self.accelerator = Accelerator(mixed_precision=recipe.efficiency.mixed_precision)
        set_up_cpu(self.accelerator, recipe)
        network: Any = load_network(model, recipe, class_names)
        self.network = network.to(self.accelerator.device)
        self.transforms = make_transforms(recipe, augment=False)
        is_padded = "validation" in self.task.pads
        self.collate = Collate(recipe.data.image_size if is_padded else None)

    def predict(self, source: Source) -> tuple[tuple[int, int], dict[str, Any]]:
        """Predict an image.

        Returns:
            Its (height, width), and what was found in its pixels.
        """
        with opened(source, self.rule, self.recipe.data.builder) as (size, samples):
            parts = list(self._parts(samples))
        if self.rule is None:
            return size, parts[0]
        is_rotated = box_name(parts[0]) == "rotated_boxes"
        threshold = TILE_NMS_IOU if is_rotated else self.network.config.nms_iou
        return size, merge_detections(parts, threshold)

    def _parts(self, samples: Iterable[tuple[Any, Any]]) -> Iterable[dict[str, Any]]:
        """Predict windows in batches, detections in pixels of the image."""
        waiting = iter(samples)
        while batch := list(islice(waiting, self.recipe.evaluation.batch_size)):
            rng = np.random.default_rng(0)  # transforms of evaluation draw nothing
            ready = [self.transforms(sample, rng) for _, sample in batch]
            found = predict_batch(
                self.accelerator, self.network, self.collate(ready), self._predict
            )
            for (window, _), each in zip(batch, found, strict=True):
                yield each if self.rule is None else shift_detections(each, window.x, window.y)

    def _predict(self, network: Any, inputs: Any) -> list[dict[str, Any]]:
        return predict_augmented(self.task.predict, network, inputs, self.recipe)

    def draw(self, source: Source, found: dict[str, Any]) -> Image.Image:
        """Draw what was found; of a pair on the second date."""
        with opened(source, None, self.recipe.data.builder) as (_, samples):
            _, sample = next(iter(samples))
        pixels: torch.Tensor = sample.get("image_post", sample["image"])
        picture = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
        names, task = self.class_names, self.recipe.task
        return draw_prediction(task, picture, found, names, caption=source.image_id)


if __name__ == "__main__":
    main()
