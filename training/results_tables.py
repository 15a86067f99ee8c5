"""Table of published and reproduced results, made from the rows of the finetuning recipes.

python training/results_tables.py              # print it
python training/results_tables.py README.md    # write it between the markers of a file
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mtp_hf.hub.card import markdown_table
from mtp_hf.metrics.finetuning import HEADLINES, headline
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.recipe import load_recipe, recipe_names, recipe_rows

START, END = "<!-- results: training/results_tables.py -->", "<!-- end of results -->"
# Row of a recipe -> heading of its column.
COLUMNS = {
    "vit_b_rvsa_mae": "ViT-B, MAE",
    "vit_b_rvsa_mtp": "ViT-B, MTP",
    "vit_l_rvsa_mae": "ViT-L, MAE",
    "vit_l_rvsa_mtp": "ViT-L, MTP",
    "internimage_xl_imagenet": "XL, ImageNet",
    "internimage_xl_mtp": "XL, MTP",
}
UNKNOWN = "-"


def results_table() -> str:
    """Compose the table: a line for each recipe, a cell `published / reproduced` for each row.

    Raises:
        ValueError: a recipe has other rows than the table has columns.
    """
    lines = [["recipe", "metric", *COLUMNS.values()]]
    for name in recipe_names(FinetuneRecipe):
        if unknown := set(recipe_rows(name)) ^ set(COLUMNS):
            raise ValueError(f"recipe {name}: rows {sorted(unknown)} are not those of the table")
        cells = [results_cell(name, row) for row in COLUMNS]
        task = name.split("/")[0]
        lines.append([f"`{name}`", HEADLINES[task][headline(task)], *cells])
    return markdown_table(lines)


def results_cell(name: str, row: str) -> str:
    """Write what a row of a recipe reaches by the metric of its task, in percent."""
    recipe = load_recipe(name, result=row)
    assert isinstance(recipe, FinetuneRecipe)
    metric = headline(recipe.task)
    values = (recipe.published.get(metric), recipe.reproduced.get(metric))
    return " / ".join(UNKNOWN if value is None else f"{value:.2f}" for value in values)


def with_table(text: str, table: str) -> str:
    """Put the table between the markers of a text.

    Raises:
        ValueError: the text lacks a marker, has one twice, or has them in the wrong order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"expected one line {START!r} and after it one line {END!r}")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n\n{table}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or write it into a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="with the two markers; none: print")
    file = parser.parse_args(arguments).file
    table = results_table()
    if file is None:
        print(table)
        return
    try:
        file.write_text(with_table(file.read_text(encoding="utf-8"), table), encoding="utf-8")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {file}: {error}")


if __name__ == "__main__":
    main()
