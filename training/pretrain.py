"""Multi-task pretraining: a recipe in; checkpoints, metrics, pictures and networks out.

This is the command line; `run_command.py` does what it says, `training_run.py` tells the story of
a run.
"""

import argparse
from collections.abc import Sequence

from mtp_hf.hub.bundle import ENCODER
from mtp_hf.hub.push import PRETRAINING
from mtp_hf.training.loaders import data_root
from mtp_hf.training.pretrain_schema import Recipe
from mtp_hf.training.pretraining_run import PretrainingRun
from mtp_hf.training.run_command import Script, make_parser, run_script
from mtp_hf.training.run_folder import check_is_no_run

EXAMPLES = """\
examples:
  accelerate launch training/pretrain.py
      the demo: generated scenes, a tiny network, a few minutes on two processor cores
  accelerate launch training/pretrain.py --resume latest
      go on where that run was stopped
  accelerate launch training/pretrain.py schedule.steps=800 optimizer.lr=5.0e-4 --output outputs/b
      any value of a recipe can be set
  accelerate launch training/pretrain.py --recipe pretrain/samrs --result vit_b_rvsa \\
      --init mae_vit_b.pth data.root=/data/samrs --dry_run
      the published pretraining; first one batch through everything

SIGTERM or SIGUSR1 makes all processes write a checkpoint after the running step, and leave with
status 143 or 138; SIGTERM again, 5 seconds later, ends at once. Ctrl-C ends at once with 130, an
error with 1. Launchers show their own status instead, and only torchrun waits for its processes.
"""


def check_recipe_fits(recipe: Recipe) -> None:
    """Check folder and start, before anything is written."""
    data_root(recipe)
    check_is_no_run("model.init", recipe.model.init, (ENCODER,))


SCRIPT = Script(
    name="pretrain",
    run=PretrainingRun,
    recipe=Recipe,
    default_recipe="pretrain/demo",
    flags={"init": "model.init"},
    folders=PRETRAINING,
    check=check_recipe_fits,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error in what the user gave ends it with a message."""
    run_script(parse_arguments(arguments))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    about = "Multi-task pretraining of a remote-sensing backbone."
    parser = make_parser(SCRIPT, about, EXAMPLES)
    parser.add_argument(
        "--init", metavar="PATH", help="MAE weights or a saved encoder to start from (model.init)"
    )
    return parser.parse_intermixed_args(arguments)  # key=value before and after options


if __name__ == "__main__":
    main()
