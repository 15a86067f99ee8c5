"""`mtp-hf data check`: counts, sizes, boxes, and everything that is wrong with a data set.

Nothing is prepared or written. Status 0: nothing is wrong; 1: something is; 2: the folder could
not be read.
"""

import argparse
import json

from mtp_hf.datasets_command.arguments import add_num_proc, add_source, source_of
from mtp_hf.datasets_command.check import check_source
from mtp_hf.datasets_command.check_report import report_text, report_values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action."""
    add_source(parser)
    add_num_proc(parser)
    parser.add_argument("--decode", action="store_true", help="read all pixels of all pictures")
    parser.add_argument("--json", action="store_true", help="print JSON; names every file")


def run(args: argparse.Namespace) -> None:
    """Check, print the report, and end with its status."""
    report = check_source(source_of(args), num_proc=args.num_proc, decode=args.decode)
    print(json.dumps(report_values(report), indent=2) if args.json else report_text(report))
    if not report.is_clean:
        raise SystemExit(1)
