"""`mtp-hf data list`: every data set with its configs, task, classes, terms and page."""

import argparse
import json
from typing import Any

from mtp_hf.dataset_scripts import BUILDERS, get_builder
from mtp_hf.dataset_scripts._options import option_names
from mtp_hf.dataset_scripts.facts import FACTS
from mtp_hf.datasets_command.families import family_of
from mtp_hf.hub.card import markdown_table

OWN_TERMS = "your own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action."""
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of a table, with options"
    )


def run(args: argparse.Namespace) -> None:
    """Print the list."""
    sets = list_sets()
    if args.json:
        print(json.dumps(sets, indent=2))
        return
    rows = [["name", "configs", "task", "classes", "terms", "page"]]
    for found in sets:
        counts = list(found["num_classes"].values())
        classes = ", ".join(map(str, counts[:1] if len(set(counts)) == 1 else counts)) or "-"
        names = [found["name"], ", ".join(found["configs"])]
        rows.append([*names, found["task"], classes, found["terms"], found["homepage"] or "-"])
    print(markdown_table(rows))


def list_sets() -> list[dict[str, Any]]:
    """Facts of each builder; folders of users have no page, and their files name the classes."""
    sets = []
    for name in BUILDERS:
        facts = FACTS.get(name)
        configs = get_builder(name).builder_configs
        sets.append(
            {
                "name": name,
                "configs": list(configs),
                "options": {key: option_names(config) for key, config in configs.items()},
                "title": facts.title if facts else name.replace("_", " "),
                "task": facts.task if facts else "your own pictures",
                "num_classes": _num_classes(name) if facts else {},
                "terms": facts.terms if facts else OWN_TERMS,
                "license": facts.license if facts else None,
                "homepage": facts.homepage if facts else None,
            }
        )
    return sets


def _num_classes(name: str) -> dict[str, int]:
    builder = get_builder(name)
    return {
        config: len(family_of(builder(config_name=config)).class_names)
        for config in builder.builder_configs
    }
