"""Finetune a small backbone on a few real images of each task until it knows them.

The published recipes, with a tiny backbone, weaker augmentation and a shorter schedule, through the
command line of a user. What is measured is the training images, without augmentation: whether the
whole path learns, from any encoder (`--init`), such as that of the demo or a converted one.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import describe_machine
from mtp_hf.hub.card import markdown_table
from mtp_hf.metrics.finetuning import HEADLINES

SCRIPT = Path(__file__).resolve().parents[1] / "training" / "finetune.py"
SHARED = (
    "model.backbone=vit_t_rvsa",
    "model.backbone_overrides.drop_path_rate=0.0",
    "optimizer.layer_decay=1.0",
    "efficiency.num_workers=0",
    "efficiency.cpu_threads=2",
    "efficiency.activation_checkpointing=false",
)
STEPS = (
    *("schedule.epochs=null", "schedule.warmup_epochs=null", "schedule.warmup_steps=40"),
    "schedule.update_every=1",
)
TWO_STAGES = (
    *("model.head.hidden_size=64", "model.head.box_hidden_size=128"),
    *("model.head.train_pre_nms=500", "model.head.train_post_nms=200"),
    *("model.head.rpn_num_samples=128", "model.head.box_num_samples=96"),
    *("data.train=train", "data.evaluate=train", "data.image_size=288", "data.limit_samples=12"),
    *("optimizer.lr=5.0e-4", "schedule.batch_size=2"),
)


@dataclasses.dataclass(frozen=True)
class SmallRun:
    """One task made small; measured and saved once, at its end.

    Args:
        recipe: whose row of ViT-B is changed.
        data: option that names the folder of its images.
        steps: of the optimizer.
        overrides: of the recipe, besides those that all runs share.
    """

    recipe: str
    data: str
    steps: int
    overrides: tuple[str, ...]

    def values(self) -> list[str]:
        """All values of the recipe that are changed, as on the command line."""
        length = [
            f"{key}={self.steps}"
            for key in ("schedule.steps", "evaluation.every", "saving.checkpoint_every")
        ]
        return [*SHARED, *STEPS, *length, "saving.log_every=20", *self.overrides]


RUNS = {
    "scene_classification": SmallRun(
        "scene_classification/eurosat",
        "eurosat",
        990,
        (
            *("data.evaluate=train", "data.image_size=128", "schedule.batch_size=8"),
            *("evaluation.transforms.resize_size=128", "optimizer.lr=5.0e-4"),
            *("augment.area_range=[0.6,1.0]", "augment.num_operations=0"),
            "augment.erasing_probability=0.0",
        ),
    ),
    "horizontal_detection": SmallRun(
        "horizontal_detection/dior",
        "dior",
        1440,
        (*TWO_STAGES, "schedule.milestones=[1000,1300]"),
    ),
    "rotated_detection": SmallRun(
        "rotated_detection/dior_r",
        "dior",
        1440,
        (*TWO_STAGES, "schedule.milestones=[1000,1300]", "augment.flip_probability=0.5"),
    ),
    "semantic_segmentation": SmallRun(
        "semantic_segmentation/loveda",
        "loveda",
        400,
        (
            *("data.train=train+validation", "data.evaluate=train+validation"),
            *("data.image_size=128", "evaluation.transforms.image_size=[384,384]"),
            *("evaluation.window=128", "evaluation.stride=96", "augment.resize_range=[2.5,3.5]"),
            *("augment.photometric=false", "schedule.batch_size=8", "optimizer.lr=6.0e-4"),
            "model.head.hidden_size=64",
        ),
    ),
    "change_detection": SmallRun(
        "change_detection/levir",
        "levir",
        720,
        (
            *("data.config=all", "data.train=train+validation+test", "data.image_size=128"),
            *("data.evaluate=train+validation+test", "schedule.batch_size=8"),
            *("evaluation.window=128", "evaluation.stride=128", "optimizer.lr=6.0e-4"),
            *("augment.rotate_probability=0.0", "augment.photometric=false"),
            "model.head.hidden_sizes=[64,48,32,16]",
        ),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tasks whose images are given, one after the other, and print the table."""
    args = parse_arguments(arguments)
    print(describe_machine(), flush=True)
    rows = [["recipe", "steps", "metric", "training images", "time"]]
    for task in args.tasks or RUNS:
        run, root = RUNS[task], vars(args)[RUNS[task].data]
        if root is None:
            print(f"{task}: not run, no --{run.data}", flush=True)
            continue
        rows.append(finetune(task, args.init, root, args.output / task, args.overrides))
        print("| " + " | ".join(rows[-1]) + " |", flush=True)
    print(markdown_table(rows))
    return 0


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.finetune_small", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("overrides", nargs="*", metavar="key=value", help="of all recipes, such as a backbone's")
    add("--init", required=True, help="encoder, folder or file of the original")
    add("--tasks", nargs="+", choices=RUNS, help="default: all whose images are given")
    for name in dict.fromkeys(run.data for run in RUNS.values()):
        add(f"--{name}", type=Path, metavar="FOLDER", help="images as downloaded")
    add("--output", type=Path, required=True, metavar="FOLDER", help="gets the runs")
    return parser.parse_intermixed_args(arguments)


def finetune(task: str, init: str, root: Path, output: Path, overrides: Sequence[str]) -> list[str]:
    """Finetune one task; return its cells."""
    run = RUNS[task]
    command = [
        *(sys.executable, str(SCRIPT), "--recipe", run.recipe, "--result", "vit_b_rvsa_mtp"),
        *("--init", init, "--output", str(output), "--overwrite", f"data.root={root}"),
        *(*run.values(), *overrides),
    ]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    minutes = (time.perf_counter() - started) / 60
    name, heading = next(iter(HEADLINES[task].items()))
    found = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    value = 100 * found["after"][name]
    return [f"`{run.recipe}`", f"{run.steps:,}", heading, f"{value:.1f}", f"{minutes:.0f} min"]


if __name__ == "__main__":
    sys.exit(main())
