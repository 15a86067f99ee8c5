"""Prediction: a folder of images, or a split of a data set, in; results and submissions out.

Large images are cut into windows and what is found in them is merged. Every image is written when
it is done; the same command goes on where it was stopped.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from mtp_hf.pipelines.picture_folders import count_other_files
from mtp_hf.submissions.coco_numbers import (
    CocoNumbers,
    count_from_zero,
    path_of,
    read_coco_numbers,
)
from mtp_hf.submissions.writing import (
    COCO_NUMBERS,
    FORMATS,
    check_format,
    check_names,
    write_submission,
)
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.inference_command import add_model_arguments, read_recipe, user_errors
from mtp_hf.training.model_loading import class_names_of, find_model
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
    check_stems,
    folder_sources,
    recipe_windows,
    split_sources,
    stem_of,
)
from mtp_hf.training.predictor import Predictor
from mtp_hf.training.recipe import recipe_to_yaml
from mtp_hf.training.run_command import set_up_console

PICTURES_FOLDER = "pictures"
EXAMPLES = """\
examples:
  python training/predict.py --model outputs/dior_r_vit_l_rvsa_mtp/best --images photographs \\
      --output outputs/found
      any images, with the settings of the model's run
  python training/predict.py --model lab/dota-vit-l --recipe rotated_detection/dota_v1 \\
      --result vit_l_rvsa_mtp data.root=/data/dota --split test --format dota --output outputs/dota
      the test images of DOTA, cut and merged as published, and zips for the server
  python training/predict.py --model outputs/ships/best --images ships/val --format coco \\
      --annotations ships/annotations/instances_val.json --output outputs/ships_val
      results with the numbers of images and categories of a COCO file
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
        if args.format != "none":  # before hours of work for nothing
            check_format(args.format, recipe.task, names)
        sources = list_sources(args, recipe)
        numbers = check_server(args, sources, names)
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
            for file in write_submission(args.format, kept, names, args.output, numbers):
                print(f"wrote {file}")
            if numbers is not None and numbers.is_counted:
                print(f"its ids of images and classes: {args.output / COCO_NUMBERS}")


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
    add("--annotations", type=Path, metavar="JSON", help="COCO file whose ids --format coco takes")
    add("--draw", type=int, default=20, metavar="N", help="images to draw at most (default: 20)")
    add("--on_error", choices=["raise", "skip"], default="raise", help="for images with damage")
    add("--tile_size", type=int, metavar="PX", help="window; 0: whole (default: as in training)")
    add("--overlap", type=int, default=200, metavar="PX", help="with --tile_size (default: 200)")
    add("--scales", type=float, nargs="+", default=[1.0], help="with --tile_size (default: 1)")
    return parser.parse_intermixed_args(arguments)  # key=value before and after options


def list_sources(args: argparse.Namespace, recipe: FinetuneRecipe) -> list[Source]:
    """List what to predict, and say which files of a folder are left out.

    Raises:
        ValueError: there is no image, or two results would have one name.
    """
    if args.images is None:
        sources = split_sources(recipe)
    else:
        pairs = recipe.task == "change_detection"
        sources = folder_sources(args.images, pairs=pairs, leave_out=args.output)
        others = count_other_files(args.images, args.output)
        if others:
            kinds = ", ".join(sorted(suffix or "no suffix" for suffix in others))
            print(f"left out as no images: {others.total()} files ({kinds})")
    check_stems(sources)
    return sources


def check_server(
    args: argparse.Namespace, sources: Sequence[Source], class_names: Sequence[str]
) -> CocoNumbers | None:
    """Check that a server can tell the images apart.

    Returns:
        Numbers of images and classes in COCO results; None for other formats.

    Raises:
        ValueError: images share a name, or `--annotations` does not have all images and classes.
    """
    if args.annotations is not None and args.format != "coco":
        raise ValueError("--annotations belongs to --format coco")
    if args.format == "none":
        return None
    check_names(args.format, [source.file_name for source in sources])
    if args.format != "coco":
        return None
    if args.annotations is None:
        return count_from_zero([path_of(each.image_id, each.file_name) for each in sources])
    numbers = read_coco_numbers(args.annotations)
    numbers.of_classes(class_names)
    for source in sources:
        numbers.of_image(source.image_id, source.file_name)
    return numbers


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


def predict_all(predictor: Predictor, sources: Sequence[Source], args: argparse.Namespace) -> int:
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
        stem = stem_of(source)
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


if __name__ == "__main__":
    main()
