"""`mtp-hf data`: look at data sets, turn them into Parquet and push them.

Exit status: 0 done, and nothing wrong; 1 a check found something wrong; 2 it could not be done.
"""

import argparse
import importlib
import sys
from concurrent.futures import BrokenExecutor

# Action -> module with add_arguments(parser) and run(args), what it does.
ACTIONS = {
    "list": ("mtp_hf.datasets_command.list_action", "name the data sets that can be read"),
    "check": ("mtp_hf.datasets_command.check_action", "read a data set and tell what is wrong"),
    "show": ("mtp_hf.datasets_command.show_action", "draw a contact sheet of a data set"),
    "convert": ("mtp_hf.datasets_command.convert_action", "write Parquet shards and a card"),
    "push": ("mtp_hf.datasets_command.push_action", "convert a data set and push it to the Hub"),
    "export": ("mtp_hf.datasets_command.export_action", "write what the scripts of MTP write"),
}

KILLED = (
    "a process was killed from outside, perhaps for its memory; with a smaller --num_proc the same"
    " command goes on"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions, each with its own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (module, about) in ACTIONS.items():
        action = actions.add_parser(name, help=about, description=about, allow_abbrev=False)
        importlib.import_module(module).add_arguments(action)


def run(args: argparse.Namespace) -> None:
    """Run an action; what the user can change ends it with a message and status 2."""
    try:
        importlib.import_module(ACTIONS[args.action][0]).run(args)
    except BrokenExecutor:
        print(f"error: {KILLED}", file=sys.stderr)
        raise SystemExit(2) from None
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
