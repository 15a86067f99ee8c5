"""`mtp-hf data convert`: Parquet shards with the pictures in them, and a card.

A conversion that was killed goes on when the same command is given again.
"""

import argparse
from pathlib import Path

from mtp_hf.datasets_command.arguments import add_num_proc, add_source, positive, source_of
from mtp_hf.datasets_command.conversion import Plan, convert_source, finish
from mtp_hf.datasets_command.dataset_card import render_card
from mtp_hf.datasets_command.families import family_of
from mtp_hf.datasets_command.source import Source

NUM_NAMED = 10  # skipped records named at the end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action."""
    add_source(parser)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder that is written")
    add_conversion(parser)


def add_conversion(parser: argparse.ArgumentParser) -> None:
    """Add what decides about the shards."""
    add_num_proc(parser)
    parser.add_argument(
        "--shard_mb",
        type=positive,
        default=500,
        metavar="MB",
        help="size that a shard comes near (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Convert, and say what was written."""
    source = source_of(args)
    plan = convert(source, args.out, shard_mb=args.shard_mb, num_proc=args.num_proc)
    for split, found in plan.splits.items():
        print(f"{args.out}: {split}: {found.num_rows:,} rows in {found.num_shards} shards")


def convert(source: Source, out: Path, *, shard_mb: int, num_proc: int) -> Plan:
    """Convert to a whole folder, and name what was left out.

    Raises:
        ValueError: see `convert_source`.
    """
    plan = convert_source(source, out, shard_bytes=shard_mb * 10**6, num_proc=num_proc)
    builder = source.open()
    card = render_card(plan, family_of(builder), builder.info.features, out.absolute().name)
    finish(plan, out, card)
    for split, found in plan.splits.items():
        if found.skipped:
            print(f"{split}: {len(found.skipped)} of {found.num_records} records left out:")
            print("\n".join(f"  {reason}" for reason in found.skipped[:NUM_NAMED]))
    return plan
