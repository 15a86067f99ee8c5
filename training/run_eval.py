"""Evaluation of a finished model: its metrics on any split of a data set, by class, and pictures.

The model is a folder in Hub layout (`model/` or `best/` of a run, a converted one), a repository of
the Hub, or a checkpoint of a run. Several processes give the same numbers as one.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from mtp_hf.hub.card import markdown_table
from mtp_hf.metrics.finetuning import HEADLINES, TaskEvaluator
from mtp_hf.metrics.tables import flatten_metrics
from mtp_hf.pipelines.detections import TILE_NMS_IOU
from mtp_hf.training.agreement import on_main_process
from mtp_hf.training.augmented_prediction import predict_augmented
from mtp_hf.training.durable_files import write_durably
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.finetuning_card import gather_facts
from mtp_hf.training.finetuning_data import (
    canvas_of,
    check_labelled,
    find_class_names,
    limit_rows,
    make_source,
    open_rows,
)
from mtp_hf.training.finetuning_results import class_lists, draw_results
from mtp_hf.training.inference_command import add_model_arguments, read_recipe, user_errors
from mtp_hf.training.loaders import evaluation_loader
from mtp_hf.training.loop import Inputs
from mtp_hf.training.model_loading import find_model, load_network
from mtp_hf.training.processes import TIMEOUT, main_process_first, set_up_cpu, wait_patiently
from mtp_hf.training.recipe import comparable_numbers
from mtp_hf.training.run_command import set_up_console
from mtp_hf.training.strict_json import strict_json
from mtp_hf.training.tasks import find_task
from mtp_hf.training.tile_evaluation import (
    MergedTilesEvaluator,
    keep_origin,
    whole_images,
    with_all_tiles,
)
from mtp_hf.training.validation import Evaluator, PredictedImages, validate

METRICS_FILE = "metrics.json"
EXAMPLES = """\
examples:
  python training/run_eval.py --model outputs/dior_r_vit_l_rvsa_mtp/best --output outputs/eval
      again what the run measured: its recipe lies beside the model
  torchrun --nproc_per_node 8 training/run_eval.py --model lab/dior-r-vit-l \\
      --recipe rotated_detection/dior_r --result vit_l_rvsa_mtp data.root=/data/dior
      a model of the Hub, the images shared among eight processes
  python training/run_eval.py --model outputs/dota --split validation --merge_tiles
      whole images from tiles that overlap
  python training/run_eval.py --model outputs/loveda/best "evaluation.scales=[0.75,1.0,1.25]" \\
      "evaluation.flips=[horizontal]"
      with test-time augmentation
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error in what the user gave ends it with a message."""
    args = parse_arguments(arguments)
    set_up_console()
    with user_errors(args.traceback):
        model = find_model(args.model)
        recipe = read_recipe(args, model)
        if recipe.data.evaluate is None:
            raise ValueError(f"recipe {recipe.name} measures on no split: name one with --split")
        if args.merge_tiles is not None:
            recipe = with_all_tiles(recipe)
        find_task(recipe)
        accelerator = Accelerator(
            mixed_precision=recipe.efficiency.mixed_precision,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=TIMEOUT)],
        )
        set_up_cpu(accelerator, recipe)
        evaluation = Evaluation(recipe, accelerator, model, args.merge_tiles)
        metrics, kept = evaluation.measure()
        on_main_process(accelerator, lambda: evaluation.report(metrics, kept, args.output))
        accelerator.end_training()


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python training/run_eval.py",
        description="Measure a finished model on a split of a data set.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_model_arguments(parser)
    add("--output", type=Path, metavar="FOLDER", help=f"gets {METRICS_FILE} and pictures")
    add(
        "--merge_tiles",
        type=_overlap,
        nargs="?",
        const=TILE_NMS_IOU,
        metavar="IOU",
        help=f"score whole images, tiles merged by rotated NMS (IoU {TILE_NMS_IOU})",
    )
    given = _with_overlap(sys.argv[1:] if arguments is None else arguments)
    return parser.parse_intermixed_args(given)  # key=value before and after options


class Evaluation:
    """One model on one split; every process has one and does the same.

    Args:
        recipe: task, data and how to measure.
        accelerator: of this process.
        model: folder of the model.
        merge_tiles: overlap between detections of neighbouring tiles, to score whole images;
            None: images are measured as they are.
    """

    def __init__(
        self,
        recipe: FinetuneRecipe,
        accelerator: Accelerator,
        model: Path,
        merge_tiles: float | None = None,
    ) -> None:
        self.recipe, self.accelerator, self.model = recipe, accelerator, model
        self.task, self.merge_tiles = find_task(recipe), merge_tiles
        with main_process_first(accelerator):  # it reads the files, the others its copy
            rows = open_rows(recipe, "validation")
        check_labelled(recipe, rows, str(recipe.data.evaluate))
        self.class_names = find_class_names(recipe, rows)
        rows = limit_rows(rows, recipe.data.limit_samples, recipe.evaluation.max_samples)
        self.source = make_source(recipe, rows, self.class_names, augment=False)
        self.network = load_network(model, recipe, self.class_names).to(accelerator.device)
        evaluator: Evaluator = TaskEvaluator(
            recipe.task, self.class_names, ignore_difficult=recipe.evaluation.ignore_difficult
        )
        if merge_tiles is not None:
            references = whole_images(recipe, len(self.class_names))
            evaluator = MergedTilesEvaluator(evaluator, references, merge_tiles)
        self.evaluator = evaluator

    def measure(self) -> tuple[dict[str, Any], PredictedImages]:
        """Predict and score; metrics are empty but on the main process."""
        loader = evaluation_loader(
            self.recipe,
            {self.recipe.data.builder: self.source},
            canvas=canvas_of(self.recipe, "validation"),
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
        )
        found = validate(
            self.accelerator,
            self.network,
            loader,
            self.evaluator,
            predict=self.predict,
            num_kept=self.task.num_drawn,
        )
        wait_patiently(self.accelerator)  # the main process scores for all
        return found

    def predict(self, network: Any, inputs: Inputs) -> list[dict[str, Any]]:
        """Predict in pixels of the images as stored; with all views that the recipe wants."""
        found = predict_augmented(self.task.predict, network, inputs, self.recipe)
        return found if self.merge_tiles is None else keep_origin(found, inputs)

    def report(
        self, metrics: Mapping[str, Any], kept: PredictedImages, folder: Path | None
    ) -> None:
        """Print the metrics; write them and pictures where a folder is given."""
        recipe = self.recipe
        rows = [["metric", "reached", "published"]]
        for name, heading in HEADLINES[recipe.task].items():
            published = comparable_numbers(recipe).get(name)
            shown = "-" if published is None else f"{published:g}"
            rows.append([heading, f"{100 * metrics[name]:.2f}", shown])
        print(f"{metrics['table']}\n\n{markdown_table(rows)}")
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "model": self.model.name,
            "recipe": recipe.name,
            "result": recipe.result,
            "split": recipe.data.evaluate,
            "merge_tiles": self.merge_tiles,
            "num_images": metrics["num_images"],
        }
        content = about | {
            "metrics": flatten_metrics(metrics),
            "class_names": self.class_names,
            "per_class": class_lists(metrics),
        }
        write_durably(folder / METRICS_FILE, strict_json(content, indent=2) + "\n")
        facts = gather_facts(
            recipe,
            self.class_names,
            num_images=(0, metrics["num_images"]),
            steps=0,
            planned_steps=0,
            metrics=metrics,
        )
        for file in [folder / METRICS_FILE, *draw_results(facts, folder, kept)]:
            print(f"wrote {file}")


def _with_overlap(arguments: Sequence[str]) -> list[str]:
    """Write `--merge_tiles key=value` out, whose value of the recipe is no overlap."""
    given = list(arguments)
    for index, (option, value) in enumerate(itertools.pairwise(arguments)):
        if option == "--merge_tiles" and "=" in value:
            given[index] = f"{option}={TILE_NMS_IOU}"
    return given


def _overlap(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"expected an IoU above 0 and up to 1, got {text}")
    return number


if __name__ == "__main__":
    main()
