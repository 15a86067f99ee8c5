"""`mtp-hf data show`: a contact sheet of rows of a data set, drawn with their annotations."""

import argparse
from pathlib import Path

from mtp_hf.datasets_command.arguments import add_source, positive, source_of
from mtp_hf.datasets_command.families import family_of
from mtp_hf.datasets_command.row_panels import draw_row
from mtp_hf.datasets_command.sheet import draw_sheet, pick_rows
from mtp_hf.datasets_command.source import list_records


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action."""
    add_source(parser)
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="SHEET.png", help="file that is written")
    add("--split", help="default: the first one")
    add("--num", type=positive, default=12, help="rows that are drawn (default: %(default)s)")
    add("--seed", type=int, default=0, help="chooses other rows (default: %(default)s)")
    add("--side", type=positive, default=384, help="pixels of a picture (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Draw the sheet and say where it is.

    Raises:
        ValueError: no such split, or a row that cannot be read.
        FileNotFoundError: a part of the set, or the folder of the sheet, is not there.
    """
    if args.output.suffix.lower() != ".png":
        raise ValueError(f"--output {args.output}; expected a name that ends with .png")
    if not args.output.absolute().parent.is_dir():
        raise FileNotFoundError(f"{args.output.parent}: no such folder; expected that of the sheet")
    source = source_of(args)
    builder = source.open()
    family = family_of(builder)
    splits, _ = list_records(builder)
    split = args.split or next(iter(splits))
    if split not in splits:
        raise ValueError(f"{source} has no split {split!r}; expected one of {list(splits)}")
    rows, skipped = pick_rows(builder, splits[split], args.num, args.seed)
    if not rows:
        raise ValueError(f"{source}, split {split!r}: no row to draw")
    panels = [draw_row(row, family, side=args.side) for row in rows]
    sheet = draw_sheet(panels, family, f"{source}  {split}  {len(rows)} rows, seed {args.seed}")
    sheet.save(args.output)
    print("".join(f"left out: {reason}\n" for reason in skipped), end="")
    print(f"{args.output}: {len(rows)} rows, {sheet.width} x {sheet.height} pixels")
