"""`mtp-hf convert`: a checkpoint of the original into a folder in Hub layout, and back."""

import argparse
from pathlib import Path
from typing import Any

import yaml

from mtp_hf.conversion.folder import convert_checkpoint
from mtp_hf.conversion.original import RECORD, restore_original


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("source", type=Path, help=".pth or .safetensors file; with --to-original our folder")
    add("destination", type=Path, help="folder to write; with --to-original a .pth file")
    add("--dataset", help="data set whose classes the head has; three with commas for the whole"
        " multi-task model")  # fmt: skip
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="field of the config that no key tells, such as out_indices=[3,5,7,11] (blocks from"
        " 0); can be repeated")  # fmt: skip
    add("--strict", action=argparse.BooleanOptionalAction, default=True,
        help="fail on keys that are left over without a known reason")  # fmt: skip
    add("--overwrite", action="store_true", help="replace what is at the destination")
    add("--to-original", action="store_true", help="the other way round")


def run(args: argparse.Namespace) -> None:
    """Convert and print what became of the keys.

    Raises:
        ValueError: something that the user can change; nothing was written.
    """
    if args.to_original:
        if args.dataset or args.settings or not args.strict:
            raise ValueError("--to-original takes no --dataset, --set and --no-strict")
        keys = restore_original(args.source, args.destination, overwrite=args.overwrite)
        print(f"{args.destination}: {len(keys)} tensors under the original's names")
        return
    if args.source.is_dir():
        raise ValueError(f"{args.source}: a folder; expected a file (or use --to-original)")
    settings = dict(parse_setting(text) for text in args.settings)
    report = convert_checkpoint(
        args.source,
        args.destination,
        dataset=args.dataset,
        settings=settings,
        strict=args.strict,
        overwrite=args.overwrite,
    )
    print(report.summary())
    print(f"{args.destination}: written; every key is in {RECORD}")


def parse_setting(text: str) -> tuple[str, Any]:
    """Split `name=value`; the value is YAML.

    Raises:
        ValueError: no `=`, no name, or no YAML.
    """
    name, separator, value = text.partition("=")
    if not name.strip() or not separator:
        raise ValueError(f"--set {text}: expected NAME=VALUE")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise ValueError(f"--set {text}: the value is no YAML") from None
