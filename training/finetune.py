"""Finetuning of every downstream task: a recipe in; checkpoints, metrics, pictures and a model out.

This is the command line; `run_command.py` does what it says, `training_run.py` tells the story of
a run, `tasks.py` what is special about each task.
"""

import argparse
from collections.abc import Sequence

from mtp_hf.hub.bundle import BEST, ENCODER, MODEL
from mtp_hf.hub.push import FINETUNING
from mtp_hf.training.architectures import build_backbone_config
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.finetuning_data import check_data_root
from mtp_hf.training.finetuning_run import FinetuningRun
from mtp_hf.training.low_rank import check_low_rank
from mtp_hf.training.run_command import Script, make_parser, run_script
from mtp_hf.training.run_folder import check_is_no_run
from mtp_hf.training.tasks import find_task

EXAMPLES = """\
examples:
  accelerate launch training/finetune.py --recipe rotated_detection/dior_r \\
      --result vit_l_rvsa_mtp data.root=/data/dior
      a published result, from the encoder that its row names
  accelerate launch training/finetune.py --recipe scene_classification/eurosat \\
      --result vit_b_rvsa_mtp --init outputs/demo/encoder model.backbone=vit_t_rvsa \\
      data.root=/data/eurosat
      the same from an encoder of your own; that of the demo is a tiny one
  accelerate launch training/finetune.py --recipe semantic_segmentation/loveda \\
      --result vit_b_rvsa_mtp --init_decoder outputs/demo/model model.backbone=vit_t_rvsa \\
      model.head.hidden_size=64 model.head.pool_scales=[2,3] data.root=/data/loveda
      from backbone and decoder of the same task of the multi-task model, instead of the row's init
  accelerate launch training/finetune.py --resume latest --output outputs/dior_r_vit_l_rvsa_mtp
      go on where that run was stopped

SIGTERM or SIGUSR1 makes all processes write a checkpoint after the running step, and leave with
status 143 or 138.
"""


def check_recipe_fits(recipe: FinetuneRecipe) -> None:
    """Check task, architecture, folder and start, before anything is written."""
    find_task(recipe)
    build_backbone_config(recipe)
    check_low_rank(recipe.model.lora_rank)
    check_data_root(recipe)
    check_start(recipe)


def check_start(recipe: FinetuneRecipe) -> None:
    """Check that a result does not start from random weights unasked.

    Raises:
        ValueError: the recipe leaves the weights to the user, who named none, or a whole run.
    """
    needed, model = recipe.model.needs_init, recipe.model
    check_is_no_run("model.init", model.init, (ENCODER, MODEL, BEST))
    check_is_no_run("model.init_decoder", model.init_decoder, (MODEL,))
    if needed and not (model.init or model.init_decoder):
        raise ValueError(
            f"recipe {recipe.name}, row {recipe.result}: starts from {needed}, which you have: name"
            " it with --init FILE; model.needs_init=null starts from random weights"
        )


SCRIPT = Script(
    name="finetune",
    run=FinetuningRun,
    recipe=FinetuneRecipe,
    default_recipe=None,
    flags={"init": "model.init", "init_decoder": "model.init_decoder"},
    folders=FINETUNING,
    check=check_recipe_fits,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error in what the user gave ends it with a message."""
    run_script(parse_arguments(arguments))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    about = "Finetuning of a remote-sensing backbone on one task and data set."
    parser = make_parser(SCRIPT, about, EXAMPLES)
    add = parser.add_argument
    add("--init", metavar="WHAT", help="Hub id, folder or file of the weights to start from")
    add("--init_decoder", metavar="WHAT", help="multi-task model to take backbone and decoder from")
    add("--push_best", action="store_true", help="push best/ to the Hub instead of model/")
    args = parser.parse_intermixed_args(arguments)  # key=value before and after options
    if args.init_decoder and not args.init:  # the multi-task model brings its backbone
        args.overrides.insert(0, "model.init=null")
    return args


if __name__ == "__main__":
    main()
