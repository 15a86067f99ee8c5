"""Reading a recipe: find the YAML file, choose a row, apply overrides, check; and writing it back.

Order of precedence: the defaults of `pretrain_schema.py` and `finetune_schema.py`, the body of the
file, the chosen row of `results:`, then `dotted.key=value` of the command line. Nothing else
overrides anything, an unknown key stops, and the resolved recipe, saved with every run, loads again
to an equal recipe.
"""

import dataclasses
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mtp_hf.training.finetune_schema import (
    FinetuneRecipe,
    check_counts,
    check_finetune_recipe,
)
from mtp_hf.training.pretrain_schema import DEMO_ROOT, Recipe, check_recipe
from mtp_hf.training.recipe_sections import CommonRecipe
from mtp_hf.training.strict_dataclass import build_dataclass, merge, parse_override, unknown_name

AnyRecipe = Recipe | FinetuneRecipe

RECIPES_FOLDER = Path(__file__).parent / "recipes"


def load_recipe(
    name: str, *, result: str | None = None, overrides: Sequence[str] = ()
) -> AnyRecipe:
    """Read, resolve and check a recipe.

    Args:
        name: such as `pretrain/demo` in `training/recipes`, or the path of a YAML file.
        result: row of `results:` laid over the body; required where the file has several.
        overrides: `dotted.key=value` arguments; `data.sources.NAME=null` takes a set away.

    Raises:
        ValueError: no such recipe, row or key, or values that do not fit together.
        TypeError: a value of the wrong type.
    """
    path = find_recipe(name)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a mapping of recipe sections")
    rows = values.pop("results", None)
    values.setdefault("name", name if not name.endswith((".yaml", ".yml")) else path.stem)
    try:
        if rows is not None:
            values = merge(values, _chosen_row(rows, result))
        elif result is not None and result != values.get("result"):
            raise ValueError(f"no results: rows here, so no row {result!r}")
        unit = _unit(values)
        for argument in overrides:
            values = merge(values, parse_override(argument))
        overridden = {argument.partition("=")[0].strip() for argument in overrides}
        recipe = _build(_without_removed_sources(values), unit, overridden)
    except (ValueError, TypeError) as error:
        raise type(error)(f"recipe {name}: {error}") from None
    return recipe


def _build(values: dict[str, Any], unit: str | None, overridden: Container[str]) -> AnyRecipe:
    """A recipe with a `task` is one of finetuning; `unit` is what it counts if not overridden."""
    if "task" in values:
        finetuning = build_dataclass(FinetuneRecipe, values)
        if unit:
            check_counts(finetuning, unit, overridden)
        check_finetune_recipe(finetuning)
        return finetuning
    pretraining = build_dataclass(Recipe, values)
    check_recipe(pretraining)
    return pretraining


def find_recipe(name: str) -> Path:
    """Return the file of a recipe given by name or by path."""
    candidates = [RECIPES_FOLDER / f"{name}.yaml", Path(name)]
    for candidate in candidates:
        if candidate.suffix in (".yaml", ".yml") and candidate.is_file():
            return candidate
    raise ValueError(unknown_name(name, "recipe", name, recipe_names()))


def recipe_names(kind: type[AnyRecipe] | None = None) -> list[str]:
    """List the recipes that come with the package.

    Args:
        kind: of pretraining or of finetuning; None: all.
    """
    files = sorted(RECIPES_FOLDER.glob("*/*.yaml"))
    names = [file.relative_to(RECIPES_FOLDER).with_suffix("").as_posix() for file in files]
    if kind is None:
        return names
    return [name for name in names if name.startswith("pretrain/") == (kind is Recipe)]


def recipe_rows(name: str) -> list[str]:
    """List the rows of `results:` of a recipe; none for a recipe without rows."""
    values = yaml.safe_load(find_recipe(name).read_text(encoding="utf-8"))
    return list(values.get("results") or {})


def recipe_to_yaml(recipe: CommonRecipe) -> str:
    """Write a resolved recipe so that `load_recipe` reads it back equal."""
    values = _plain(dataclasses.asdict(recipe))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


# What a resumed run may change: none of it alters what is learned from the next step on.
RESUMABLE_CHANGES = (
    "name",
    "about",
    "data.root",
    "data.evaluate",
    "data.evaluate_config",
    "model.init",
    "model.init_decoder",
    "published",
    "reproduced",
    "efficiency",
    "evaluation",
    "saving",
)


# What a published number says nothing about: machines, moments of measuring, weights of one's own.
BESIDE_THE_RESULT = (
    "name",
    "about",
    "seed",
    "data.root",
    "model.init",
    "model.init_decoder",
    "model.needs_init",
    "schedule.gradient_accumulation",
    "published",
    "reproduced",
    "efficiency",
    "evaluation.every",
    "evaluation.before",
    "evaluation.batch_size",
    "evaluation.on_training_images",
    "saving",
)


def comparable_numbers(recipe: FinetuneRecipe) -> dict[str, float]:
    """Return the published numbers, none where a published recipe was changed for another result.

    Args:
        recipe: as it was given, in epochs or steps.
    """
    known = recipe.name in recipe_names(FinetuneRecipe)
    if not known or recipe.result not in recipe_rows(recipe.name):
        return recipe.published  # of one's own
    original = load_recipe(recipe.name, result=recipe.result)
    changed = _changes(recipe, original)
    return {} if any(not _is_among(key, BESIDE_THE_RESULT) for key in changed) else recipe.published


def without_paths(recipe: AnyRecipe) -> AnyRecipe:
    """Leave out where files lie on this machine, for a recipe that is published."""
    root = recipe.data.root if recipe.data.root == DEMO_ROOT else None
    names = {
        field: Path(path).name
        for field in ("init", "init_decoder")
        if (path := getattr(recipe.model, field, None)) and not _is_hub_id(path)
    }
    return dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, root=root),
        model=dataclasses.replace(recipe.model, **names),
    )


def _is_hub_id(name: str) -> bool:
    is_name = re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith(".")
    return bool(is_name) and not Path(name).exists()


def check_same_training(recipe: CommonRecipe, saved: Path) -> list[str]:
    """Check that a recipe goes on where another one stopped.

    Args:
        recipe: of the resumed run.
        saved: recipe that the checkpoint was made with.

    Returns:
        What differs without changing what is learned, as `key: old -> new`.

    Raises:
        ValueError: they differ in something that changes what is learned; all of it is listed.
    """
    changed = _changes(recipe, load_recipe(str(saved)))
    harmless = [key for key in changed if _is_among(key, RESUMABLE_CHANGES)]
    refused = [text for key, text in changed.items() if key not in harmless]
    if refused:
        raise ValueError(
            f"the checkpoint was made by another recipe; changed: {'; '.join(refused)}"
        )
    return [changed[key] for key in harmless]


def _changes(recipe: CommonRecipe, old_recipe: CommonRecipe) -> dict[str, str]:
    """Dotted key that differs -> what was and what is."""
    new, old = (_flat(dataclasses.asdict(each)) for each in (recipe, old_recipe))
    return {
        key: f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(new.keys() | old.keys())
        if new.get(key) != old.get(key)
    }


def _is_among(key: str, sections: Sequence[str]) -> bool:
    return any(f"{key}.".startswith(f"{each}.") for each in sections)


def _chosen_row(rows: Mapping[str, Any], result: str | None) -> dict[str, Any]:
    if result is None and len(rows) == 1:
        result = next(iter(rows))
    if result is None:
        raise ValueError(f"choose a row with --result: {', '.join(rows)}")
    if result not in rows:
        raise ValueError(unknown_name(result, "row", result, rows))
    return {**rows[result], "result": result}


def _unit(values: Mapping[str, Any]) -> str | None:
    """What the schedule counts; None where it does not say, or says both."""
    schedule = values.get("schedule")
    given = schedule if isinstance(schedule, Mapping) else {}
    units = [unit for unit in ("epochs", "steps") if given.get(unit) is not None]
    return units[0] if len(units) == 1 else None


def _without_removed_sources(values: dict[str, Any]) -> dict[str, Any]:
    """Drop the sets that a row or the command line set to null."""
    data = values.get("data")
    sources = data.get("sources") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(sources, Mapping):
        return values
    kept = {name: each for name, each in sources.items() if each not in (None, "null")}
    return {**values, "data": {**data, "sources": kept}}


def _plain(value: Any) -> Any:
    """Turn tuples into lists all the way down, which is what YAML has."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Dotted key -> value that is no mapping."""
    if not isinstance(value, Mapping):
        return {path: value}
    parts = [_flat(each, f"{path}.{key}" if path else str(key)) for key, each in value.items()]
    return {key: each for part in parts for key, each in part.items()}
