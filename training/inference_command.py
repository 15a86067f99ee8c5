"""What the command lines on finished models share: which model, which recipe, how errors end."""

import argparse
import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from mtp_hf.training.agreement import OtherProcessError
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.model_loading import recipe_beside
from mtp_hf.training.processes import precision_of_launcher
from mtp_hf.training.recipe import load_recipe, recipe_names


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a model and its recipe."""
    add = parser.add_argument
    known = ", ".join(recipe_names(FinetuneRecipe))
    add("overrides", nargs="*", metavar="key=value", help="values of the recipe")
    add("--model", required=True, metavar="WHAT", help="folder, Hub id, or checkpoint of a run")
    add("--recipe", help=f"one of {known}, or a YAML file (default: that of the model's run)")
    add("--result", metavar="ROW", help="row of the recipe's results")
    add("--split", help="of the data set, such as test (default: data.evaluate of the recipe)")
    add("--traceback", action="store_true", help="show where an error came from")


def read_recipe(args: argparse.Namespace, model: Path) -> FinetuneRecipe:
    """Read the recipe that the command line means, or that of the run which made the model.

    Args:
        args: with the arguments of `add_model_arguments`.
        model: folder of the model.

    Raises:
        ValueError: there is no recipe, or it is not one of finetuning.
    """
    beside = recipe_beside(model)
    name = args.recipe or (str(beside) if beside else None)
    if name is None:
        raise ValueError(f"no recipe.yaml lies beside {model}: name its recipe with --recipe")
    overrides = list(args.overrides)
    if precision_of_launcher() != "no":
        overrides.insert(0, f"efficiency.mixed_precision={precision_of_launcher()}")
    if args.split:
        overrides.append(f"data.evaluate={args.split}")
    try:
        recipe = load_recipe(name, result=args.result, overrides=overrides)
    except TypeError as error:  # a value of the wrong type is the user's mistake like any other
        raise ValueError(str(error)) from None
    if not isinstance(recipe, FinetuneRecipe):
        raise ValueError(f"recipe {name} is one of pretraining; expected one of finetuning")
    return recipe


@contextlib.contextmanager
def user_errors(with_traceback: bool) -> Iterator[None]:
    """End the command with a message where something is wrong with what the user gave."""
    try:
        yield
    except OtherProcessError:
        sys.exit(1)  # the main process says why
    except (ValueError, OSError) as error:
        if with_traceback:
            raise
        traceback.clear_frames(error.__traceback__)  # else loaders' workers would leave in seconds
        sys.exit(f"error: {error}")
