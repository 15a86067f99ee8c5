"""`mtp-hf data export`: the files that the scripts of MTP make, for code that reads those."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from mtp_hf.datasets_command.arguments import add_num_proc, add_options, read_options
from mtp_hf.datasets_command.original_exports import (
    export_dior_coco,
    export_loveda_labels,
    export_samrs_coco,
    export_spacenet_labels,
    export_spacenet_masks,
    export_xview_coco,
)
from mtp_hf.datasets_command.source import parse_source
from mtp_hf.submissions.fair1m_xml import export_fair1m_xml

# Kind -> function from a data set, the data set (with its config if there is but one), about.
FROM_SETS = {
    "samrs_coco": (export_samrs_coco, "samrs", "instances of the SAMRS set --config as COCO json"),
    "dior_coco": (export_dior_coco, "dior/hbb", "horizontal boxes of DIOR as COCO json"),
    "xview_coco": (export_xview_coco, "xview/all_tiles", "tiles of xView and their COCO json"),
    "spacenet_masks": (export_spacenet_masks, "spacenet_v1", "maps of SpaceNet, tif of 0 / 255"),
    "spacenet_labels": (export_spacenet_labels, "spacenet_v1", "the same as png, 0 / 1"),
}
FROM_FOLDERS = {
    "loveda_labels": "png maps of 1 to 7 in DIR as those of 0 to 6 for the LoveDA server",
    "fair1m_xml": "Task1_<class>.txt in DIR as xml for the FAIR1M server; needs --images",
}
KINDS = {kind: about for kind, (_, _, about) in FROM_SETS.items()} | FROM_FOLDERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action."""
    width = max(map(len, KINDS))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "kinds:\n" + "\n".join(f"  {k.ljust(width)}  {a}" for k, a in KINDS.items())
    add = parser.add_argument
    add("kind", choices=KINDS, metavar="KIND", help="see below")
    add("folder", type=Path, metavar="DIR", help="folder of the files that are read")
    add("out", type=Path, metavar="OUT", help="folder that gets the files; made if not there")
    add("--config", help="set of samrs_coco, such as sior")
    add("--images", type=Path, metavar="FOLDER", help="test images of fair1m_xml")
    add_options(parser)
    add_num_proc(parser)


def run(args: argparse.Namespace) -> None:
    """Export, and say what was written.

    Raises:
        ValueError: an argument that the kind needs or does not take, or a file that is wrong.
        FileNotFoundError: a part of the set is not there.
    """
    for name, kind in (("config", "samrs_coco"), ("images", "fair1m_xml")):
        if (getattr(args, name) is not None) != (args.kind == kind):
            needs = "needs" if args.kind == kind else "takes no"
            raise ValueError(f"{args.kind} {needs} --{name}")
    if not args.folder.is_dir():
        raise FileNotFoundError(f"{args.folder}: no such folder")
    for line in _export(args):
        print(line)


def _export(args: argparse.Namespace) -> Iterator[str]:
    if args.kind not in FROM_SETS:
        if args.option:
            raise ValueError(f"{args.kind} takes no --option")
        args.out.mkdir(parents=True, exist_ok=True)
        if args.kind == "fair1m_xml":
            yield export_fair1m_xml(args.folder, args.images, args.out)
        else:
            yield from export_loveda_labels(args.folder, args.out)
        return
    export, name, _ = FROM_SETS[args.kind]
    name = f"{name}/{args.config}" if args.config else name
    source = parse_source(name, args.folder, **read_options(args.option))
    source.open()  # a wrong folder is told before the other one is made
    args.out.mkdir(parents=True, exist_ok=True)
    yield from export(source, args.out, args.num_proc)
