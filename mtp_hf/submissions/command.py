"""`mtp-hf submit`: check a file before it goes to a test server."""

import argparse
from pathlib import Path

from mtp_hf.submissions.checking import CHECKS, check_submission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--check", type=Path, required=True, metavar="FILE", help="zip or json to look at")
    add("--format", choices=CHECKS, required=True, help="what the server expects")
    add("--images", type=Path, metavar="DIR", help="test images: compare names and sizes")
    add("--annotations", type=Path, metavar="JSON", help="of coco: compare images and categories")


def run(args: argparse.Namespace) -> None:
    """Check, and say what is in the file.

    Raises:
        ValueError: something is wrong.
    """
    if args.images is not None and not args.images.is_dir():
        raise ValueError(f"--images={args.images}: no such folder")
    print(check_submission(args.check, args.format, args.images, args.annotations))
