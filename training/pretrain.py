"""Multi-task pretraining: a recipe in; checkpoints, metrics, pictures and networks out.

This is the command line; `training_run.py` tells the story of a run.
"""

import argparse
import contextlib
import logging
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from transformers.utils.logging import disable_progress_bar

from mtp_hf.hub.push import DEFAULT_NAMESPACE
from mtp_hf.training.agreement import OtherProcessError, on_main_process
from mtp_hf.training.checkpoint_files import check_is_checkpoint, read_latest
from mtp_hf.training.checkpoints import CheckpointError
from mtp_hf.training.loaders import data_root
from mtp_hf.training.loss_window import NonFiniteLossError
from mtp_hf.training.preemption import StoppedBySignal
from mtp_hf.training.pretraining_run import PretrainingRun
from mtp_hf.training.processes import (
    check_launch,
    describe_lost_process,
    make_accelerator,
    precision_of_launcher,
    set_up_cpu,
)
from mtp_hf.training.publishing import HubOptions, Publisher, start_publisher
from mtp_hf.training.recipe import load_recipe, recipe_names, recipe_to_yaml
from mtp_hf.training.recipe_schema import Recipe
from mtp_hf.training.run_folder import RunFolder

DEFAULT_RECIPE = "pretrain/demo"
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
# Options of a start: `--resume` reads them from the folder of the run, or replaces them.
_KNOWN_TO_THE_FOLDER = {
    *("overrides", "recipe", "result", "init", "limit_samples", "seed"),
    *("output", "overwrite", "resume"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error in what the user gave ends it with a message."""
    args = parse_arguments(arguments)
    set_up_console()
    output = None
    try:
        recipe = _checked_recipe(args)
        output = output_folder(args, recipe)
        tracker = None if args.dry_run else args.log_with  # a dry run leaves no file
        accelerator = make_accelerator(recipe, tracker, output.tracker)
        check_launch(accelerator, recipe)
        set_up_cpu(accelerator, recipe)
        if accelerator.is_main_process:
            print(recipe_to_yaml(recipe))
        publisher = publisher_of(args, accelerator, output, recipe)
        with opened(output, accelerator, args, recipe) as folder:
            run = PretrainingRun(
                recipe, accelerator, folder, resume=args.resume, publisher=publisher
            )
            run.execute(1 if args.dry_run else args.max_steps)
    except StoppedBySignal as stop:
        if accelerator.is_main_process:
            print(f"{stop} after step {run.step}; {last_checkpoint(output)}".rstrip("; "))
            print(f"launched as before: {resume_command(args, output)}")
        accelerator.end_training()
        sys.exit(stop.exit_status)
    except OtherProcessError:
        sys.exit(1)  # the main process says why
    except KeyboardInterrupt:
        print(f"\ninterrupted\n{last_checkpoint(output)}".rstrip(), file=sys.stderr)
        sys.exit(130)
    except (ValueError, NonFiniteLossError, CheckpointError, OSError) as error:
        if args.traceback:
            raise
        hint = last_checkpoint(output) if isinstance(error, OSError) else ""
        traceback.clear_frames(error.__traceback__)  # else loaders' workers would leave in seconds
        sys.exit(f"error: {error}" + f"\n{hint}" * bool(hint))
    except RuntimeError as error:
        lost = describe_lost_process(error)
        if lost is None or args.traceback:
            raise
        sys.exit(f"error: {lost}\n{last_checkpoint(output)}".rstrip())
    if args.dry_run and accelerator.is_main_process:
        print("dry run: one step, validation and saving passed; nothing was kept")
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if publisher:
        publisher.push_results(run.step)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="accelerate launch training/pretrain.py",
        description="Multi-task pretraining of a remote-sensing backbone.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    known = ", ".join(recipe_names())
    add("overrides", nargs="*", metavar="key=value", help="values of the recipe, such as seed=1")
    add("--recipe", help=f"one of {known}, or a YAML file (default: {DEFAULT_RECIPE})")
    add("--result", metavar="ROW", help="row of the recipe's results, such as vit_b_rvsa")
    add("--output", type=Path, metavar="FOLDER", help="default: outputs/RECIPE[_ROW]")
    add("--resume", metavar="latest|FOLDER", help="go on from the last, or a given, checkpoint")
    add("--overwrite", action="store_true", help="replace the run that is in the output folder")
    add("--init", metavar="PATH", help="MAE weights or a saved encoder to start from (model.init)")
    add("--max_steps", type=_positive, metavar="N", help="stop after N steps; the schedule stays")
    add("--limit_samples", type=_positive, metavar="N", help="images of each set and split at most")
    add("--seed", type=int, help="of weights, order and augmentation")
    add("--log_with", choices=["tensorboard"], help="also write a tracker's log (extra: tracking)")
    add("--dry_run", action="store_true", help="one batch through everything; nothing is kept")
    add("--push_to_hub", metavar="REPO", help="push encoder/ there, model/ to REPO-pretraining")
    add("--push_every", type=_positive, metavar="N", help="push along the way, too; in steps")
    add("--hub_private", action="store_true", help="make the repositories private")
    add("--namespace", help=f"user or organization of a REPO without one ({DEFAULT_NAMESPACE})")
    add("--traceback", action="store_true", help="show where an error came from")
    return parser.parse_intermixed_args(arguments)  # key=value before and after options


def _checked_recipe(args: argparse.Namespace) -> Recipe:
    """Resolve the recipe; a value of the wrong type is the user's mistake like any other."""
    try:
        return resolve_recipe(args)
    except TypeError as error:
        if args.traceback:
            raise
        raise ValueError(str(error)) from None


def resolve_recipe(args: argparse.Namespace) -> Recipe:
    """Read the recipe that the command line means; a resumed run has its own."""
    overrides = list(args.overrides)
    if precision_of_launcher() != "no":
        overrides.insert(0, f"efficiency.mixed_precision={precision_of_launcher()}")
    flags = {"model.init": args.init, "data.limit_samples": args.limit_samples, "seed": args.seed}
    overrides += [f"{key}={value}" for key, value in flags.items() if value is not None]
    if args.dry_run:
        overrides += ["data.limit_samples=2", "evaluation.max_samples=1", "saving.log_every=1"]
    if args.overwrite and args.resume:
        raise ValueError("--overwrite starts again, --resume goes on: choose one")
    if args.dry_run and args.resume:
        raise ValueError("--dry_run tries a new run; it cannot go on from a checkpoint (--resume)")
    if args.resume and args.resume != "latest":
        check_is_checkpoint(Path(args.resume))
    if not args.resume or args.recipe:
        return load_recipe(args.recipe or DEFAULT_RECIPE, result=args.result, overrides=overrides)
    own = output_folder(args, None)
    own.check(is_resumed=True, overwrite=False)
    return load_recipe(str(own.recipe), result=args.result, overrides=overrides)


def output_folder(args: argparse.Namespace, recipe: Recipe | None) -> RunFolder:
    """Return where the run goes: as told, the run of the checkpoint, or `outputs/RECIPE[_ROW]`."""
    if args.output:
        return RunFolder(args.output)
    if args.resume and args.resume != "latest":
        return RunFolder(Path(args.resume).resolve().parent.parent)
    name = recipe.name if recipe else args.recipe or DEFAULT_RECIPE
    row = recipe.result if recipe else args.result
    return RunFolder(Path("outputs") / "_".join([Path(name).stem, *([row] if row else [])]))


@contextlib.contextmanager
def opened(
    folder: RunFolder, accelerator: Accelerator, args: argparse.Namespace, recipe: Recipe
) -> Iterator[RunFolder]:
    """Open the output folder, or for a dry run one that is gone afterwards."""
    if args.dry_run:
        with tempfile.TemporaryDirectory(prefix="dry_run_") as path:
            yield RunFolder(Path(broadcast_object_list([path])[0]))
            accelerator.wait_for_everyone()
        return

    def start() -> None:
        folder.check(is_resumed=bool(args.resume), overwrite=args.overwrite)
        data_root(recipe)  # before an old run is cleared for one that cannot start
        folder.create()
        if not args.resume:
            folder.clear()

    on_main_process(accelerator, start)
    yield folder


def publisher_of(
    args: argparse.Namespace, accelerator: Accelerator, folder: RunFolder, recipe: Recipe
) -> Publisher | None:
    """Check the options of the Hub and what it allows; a dry run stops there."""
    if not args.push_to_hub:
        alone = [name for name in ("push_every", "hub_private", "namespace") if vars(args)[name]]
        if alone:
            raise ValueError(f"--{alone[0]} needs --push_to_hub REPO")
        return None
    checkpoint_every = recipe.saving.checkpoint_every
    if args.push_every and (not checkpoint_every or args.push_every % checkpoint_every):
        raise ValueError(
            f"--push_every {args.push_every}: expected a multiple of"
            f" saving.checkpoint_every={checkpoint_every}, so that what is pushed can be resumed"
        )
    options = HubOptions(args.push_to_hub, args.namespace, args.hub_private, args.push_every)
    last_step = min(recipe.schedule.steps, args.max_steps or sys.maxsize)
    publisher = start_publisher(accelerator, options, folder, last_step)
    return None if args.dry_run else publisher


def resume_command(args: argparse.Namespace, output: RunFolder) -> str:
    """Return the command that goes on with a run; its folder knows the recipe and all values."""
    words = [sys.argv[0], "--resume", "latest", "--output", str(output.path)]
    for name, value in vars(args).items():
        if name not in _KNOWN_TO_THE_FOLDER and value:
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return shlex.join(words)


def last_checkpoint(output: RunFolder | None) -> str:
    """Say what a run that ended too early has left; nothing if it has no checkpoint."""
    name = read_latest(output.checkpoints) if output else None
    if output is None or name is None:
        return ""
    return f"the last good checkpoint is {output.checkpoints / name}; go on with --resume latest"


def set_up_console() -> None:
    """Show the messages of the run, and of libraries only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    # Accelerate marks every message with its process; only the main one speaks here.
    handler.addFilter(_without_rank)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("mtp_hf").setLevel(logging.INFO)
    disable_progress_bar()  # of reading and writing weights


def _without_rank(record: logging.LogRecord) -> bool:
    record.msg = str(record.msg).removeprefix("[RANK 0] ")
    return True


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


if __name__ == "__main__":
    main()
