"""The command `mtp-hf`: one row of `COMMANDS` for each subcommand.

A subcommand is a module with `add_arguments(parser)` and `run(args)`. It is imported when it is
called, so that none of them waits for what another one needs.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

# Name -> module, what it does.
COMMANDS = {
    "convert": ("mtp_hf.conversion.command", "turn original checkpoints into folders, and back"),
    "data": ("mtp_hf.datasets_command.command", "look at data sets, convert and push them"),
    "make-sota-rbb": (
        "mtp_hf.dataset_scripts.make_sota_rbb",
        "make the masks of SOTA-RBB from the rotated boxes of DOTA-2.0",
    ),
    "push": ("mtp_hf.hub.push_command", "push a finished run to the Hub"),
    "submit": ("mtp_hf.submissions.command", "check a file before it goes to a test server"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error in what the user gave ends it with a message."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="mtp-hf",
        description="Tools of mtp_hf.",
        epilog="commands:\n"
        + "\n".join(f"  {name.ljust(width)}  {about}" for name, (_, about) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see below")
    name = parser.parse_args(arguments[:1]).command
    module_name, about = COMMANDS[name]
    module = importlib.import_module(module_name)
    command_parser = argparse.ArgumentParser(
        prog=f"mtp-hf {name}", description=about, allow_abbrev=False
    )
    module.add_arguments(command_parser)
    args = command_parser.parse_args(arguments[1:])
    try:
        module.run(args)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
