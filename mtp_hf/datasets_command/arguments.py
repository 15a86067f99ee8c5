"""Arguments that several actions of `mtp-hf data` take."""

import argparse
import os

import yaml

from mtp_hf.datasets_command.source import Source, parse_source


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the data set, its folder, and options of its builder."""
    parser.add_argument(
        "name", metavar="NAME[/CONFIG]", help="see `mtp-hf data list`; the first config by default"
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the files as downloaded")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add options of a builder."""
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the data set, such as split_seed=1 or class_names=[a, b]; may be repeated."
        " `mtp-hf data list --json` names the options of each config",
    )


def add_num_proc(parser: argparse.ArgumentParser) -> None:
    """Add the number of processes."""
    parser.add_argument(
        "--num_proc",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes that read (default: one a core, %(default)s)",
    )


def source_of(args: argparse.Namespace, **options: object) -> Source:
    """Data set that the arguments of `add_source` name.

    Raises:
        ValueError: there is no such data set or config, or an option has no value.
    """
    return parse_source(args.name, args.folder, **read_options(args.option), **options)


def positive(text: str) -> int:
    """Read a number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def read_options(pairs: list[str]) -> dict[str, object]:
    """Options of a builder from KEY=VALUE; values are YAML.

    Raises:
        ValueError: one has no key or no value, or one that is no YAML.
    """
    options: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ValueError(f"--option {pair!r}; expected KEY=VALUE")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"--option {pair!r}; the value is no YAML ({reason})") from None
    return options
