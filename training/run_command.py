"""The command line that all training scripts share: from arguments to a run and its exit status.

A script adds its own options and says which runs it makes (`Script`).
"""

import argparse
import contextlib
import dataclasses
import logging
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from transformers.utils.logging import disable_progress_bar

from mtp_hf.hub.push import BEST_OF_FINETUNING, DEFAULT_NAMESPACE
from mtp_hf.training.agreement import OtherProcessError, on_main_process
from mtp_hf.training.checkpoint_files import check_is_checkpoint, read_latest
from mtp_hf.training.checkpoints import CheckpointError
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.loss_window import NonFiniteLossError
from mtp_hf.training.preemption import StoppedBySignal
from mtp_hf.training.processes import (
    check_launch,
    describe_lost_process,
    make_accelerator,
    precision_of_launcher,
    set_up_cpu,
)
from mtp_hf.training.publishing import HubOptions, Publisher, start_publisher
from mtp_hf.training.recipe import AnyRecipe, load_recipe, recipe_names, recipe_to_yaml
from mtp_hf.training.run_folder import RunFolder
from mtp_hf.training.training_run import TrainingRun

# Options of a start: `--resume` reads them from the folder of the run, or replaces them.
_KNOWN_TO_THE_FOLDER = {
    *("overrides", "recipe", "result", "init", "init_decoder", "limit_samples", "seed"),
    *("output", "overwrite", "resume", "script"),
}


@dataclasses.dataclass(frozen=True)
class Script:
    """What is special about a training script.

    Args:
        name: such as `pretrain`.
        run: the runs it makes.
        recipe: class of its recipes.
        default_recipe: where none is named; None: one has to be.
        flags: option -> key of the recipe.
        folders: that are pushed; see `repo_names`.
        check: looks at the data and what else a recipe needs, before anything is written.
    """

    name: str
    run: type[TrainingRun[Any]]
    recipe: type[AnyRecipe]
    default_recipe: str | None
    flags: Mapping[str, str]
    folders: Mapping[str, str]
    check: Any


def make_parser(script: Script, about: str, examples: str) -> argparse.ArgumentParser:
    """Make the parser of a script, with the options that all have."""
    parser = argparse.ArgumentParser(
        prog=f"accelerate launch training/{script.name}.py",
        description=about,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(script=script)
    add = parser.add_argument
    known = ", ".join(recipe_names(script.recipe))
    default = f" (default: {script.default_recipe})" if script.default_recipe else ""
    add("overrides", nargs="*", metavar="key=value", help="values of the recipe, such as seed=1")
    add("--recipe", help=f"one of {known}, or a YAML file{default}")
    add("--result", metavar="ROW", help="row of the recipe's results, such as vit_b_rvsa")
    add("--output", type=Path, metavar="FOLDER", help="default: outputs/RECIPE[_ROW]")
    add("--resume", metavar="latest|FOLDER", help="go on from the last, or a given, checkpoint")
    add("--overwrite", action="store_true", help="replace the run that is in the output folder")
    add("--max_steps", type=_positive, metavar="N", help="stop after N steps; the schedule stays")
    add("--limit_samples", type=_positive, metavar="N", help="images of each set and split at most")
    add("--seed", type=int, help="of weights, order and augmentation")
    add("--log_with", choices=["tensorboard"], help="also write a tracker's log (extra: tracking)")
    add("--dry_run", action="store_true", help="one batch through everything; nothing is kept")
    add("--push_to_hub", metavar="REPO", help="push what the run leaves to the Hub")
    add(
        "--push_every",
        type=_positive,
        metavar="N",
        help="push along the way, too; counts as checkpoints",
    )
    add("--hub_private", action="store_true", help="make the repositories private")
    add("--namespace", help=f"user or organization of a REPO without one ({DEFAULT_NAMESPACE})")
    add("--traceback", action="store_true", help="show where an error came from")
    return parser


def run_script(args: argparse.Namespace) -> None:
    """Do what the arguments say; an error in what the user gave ends it with a message."""
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
            run = args.script.run(
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


def _checked_recipe(args: argparse.Namespace) -> AnyRecipe:
    """Resolve the recipe; a value of the wrong type is the user's mistake like any other."""
    try:
        return resolve_recipe(args)
    except TypeError as error:
        if args.traceback:
            raise
        raise ValueError(str(error)) from None


def resolve_recipe(args: argparse.Namespace) -> AnyRecipe:
    """Read the recipe that the command line means; a resumed run has its own."""
    overrides = list(args.overrides)
    if precision_of_launcher() != "no":
        overrides.insert(0, f"efficiency.mixed_precision={precision_of_launcher()}")
    flags = {"data.limit_samples": args.limit_samples, "seed": args.seed}
    for option, key in args.script.flags.items():
        flags[key] = getattr(args, option)
        if flags[key] == "":  # of a variable that is not set; as a value it would mean null
            raise ValueError(f"--{option}: expected a name or path, got an empty text")
    overrides += [f"{key}={value}" for key, value in flags.items() if value is not None]
    if args.dry_run:
        overrides += ["data.limit_samples=2", "evaluation.max_samples=1", "saving.log_every=1"]
        overrides += ["schedule.warmup_steps=0"]  # of so few images an epoch has few steps
    if args.overwrite and args.resume:
        raise ValueError("--overwrite starts again, --resume goes on: choose one")
    if args.dry_run and args.resume:
        raise ValueError("--dry_run tries a new run; it cannot go on from a checkpoint (--resume)")
    if args.resume and args.resume != "latest":
        check_is_checkpoint(Path(args.resume))
    name = args.recipe or args.script.default_recipe
    if args.resume and not args.recipe:
        own = output_folder(args, None)
        own.check(is_resumed=True, overwrite=False)
        name = str(own.recipe)
    if name is None:
        known = ", ".join(recipe_names(args.script.recipe))
        raise ValueError(f"choose a recipe with --recipe: {known}")
    recipe = load_recipe(name, result=args.result, overrides=overrides)
    if not isinstance(recipe, args.script.recipe):
        raise ValueError(f"recipe {name} is not one of {args.script.name}.py")
    return recipe


def output_folder(args: argparse.Namespace, recipe: AnyRecipe | None) -> RunFolder:
    """Return where the run goes: as told, the run of the checkpoint, or `outputs/RECIPE[_ROW]`."""
    if args.output:
        return RunFolder(args.output)
    if args.resume and args.resume != "latest":
        return RunFolder(Path(args.resume).resolve().parent.parent)
    name = recipe.name if recipe else args.recipe or args.script.default_recipe or args.script.name
    row = recipe.result if recipe else args.result
    return RunFolder(Path("outputs") / "_".join([Path(name).stem, *([row] if row else [])]))


@contextlib.contextmanager
def opened(
    folder: RunFolder, accelerator: Accelerator, args: argparse.Namespace, recipe: AnyRecipe
) -> Iterator[RunFolder]:
    """Open the output folder, or for a dry run one that is gone afterwards."""
    if args.dry_run:
        with tempfile.TemporaryDirectory(prefix="dry_run_") as path:
            yield RunFolder(Path(broadcast_object_list([path])[0]))
            accelerator.wait_for_everyone()
        return

    def start() -> None:
        folder.check(is_resumed=bool(args.resume), overwrite=args.overwrite)
        args.script.check(recipe)  # before an old run is cleared for one that cannot start
        folder.create()
        if not args.resume:
            folder.clear()

    on_main_process(accelerator, start)
    yield folder


def publisher_of(
    args: argparse.Namespace, accelerator: Accelerator, folder: RunFolder, recipe: AnyRecipe
) -> Publisher | None:
    """Check the options of the Hub and what it allows; a dry run stops there."""
    if not args.push_to_hub:
        options = ("push_every", "push_best", "hub_private", "namespace")
        if alone := [name for name in options if vars(args).get(name)]:
            raise ValueError(f"--{alone[0]} needs --push_to_hub REPO")
        return None
    suffixes = args.script.folders
    if vars(args).get("push_best"):
        suffixes = BEST_OF_FINETUNING
        if isinstance(recipe, FinetuneRecipe) and recipe.data.evaluate is None:
            raise ValueError("--push_best: the recipe measures nothing (data.evaluate is null)")
    checkpoint_every = recipe.saving.checkpoint_every
    if args.push_every and (not checkpoint_every or args.push_every % checkpoint_every):
        raise ValueError(
            f"--push_every {args.push_every}: expected a multiple of"
            f" saving.checkpoint_every={checkpoint_every}, so that what is pushed can be resumed"
        )
    options = HubOptions(
        args.push_to_hub,
        args.namespace,
        args.hub_private,
        args.push_every and args.push_every // checkpoint_every,
        suffixes,
    )
    publisher = start_publisher(accelerator, options, folder)
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
