"""The card of a converted data set: front matter for the Hub, and what people should know."""

import datasets
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict
from huggingface_hub import DatasetCardData

from mtp_hf.dataset_scripts.facts import FACTS, SetFacts
from mtp_hf.datasets_command.conversion import DATA_FOLDER, Plan
from mtp_hf.datasets_command.families import CHANGE, CLASSIFICATION, SEGMENTATION, Family
from mtp_hf.hub.card import markdown_table

# Upper bounds of the Hub's size categories.
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
OWN_TASKS = {
    CLASSIFICATION: ("image-classification",),
    SEGMENTATION: ("image-segmentation",),
    CHANGE: ("image-segmentation",),
}
COLUMNS = {
    "image_id": "stem of the file, unique in a split",
    "image": "picture; of a change pair the earlier one",
    "image_post": "the later picture",
    "label": "class",
    "mask": "8-bit map of class numbers, 255 = ignore; None without labels",
    "semantic_mask": "8-bit map of class numbers, 255 = background",
    "objects": "parallel lists; boxes are x, y, width, height, polygons x1 y1 ... x4 y4, in pixels",
    "rotated_objects": "parallel lists; polygons are x1 y1 ... x4 y4, in pixels",
    "tile": "where the picture was cut from",
}


def render_card(plan: Plan, family: Family, features: datasets.Features, repo: str) -> str:
    """Write the card.

    Args:
        plan: of a finished conversion.
        family: of the rows, with the class names.
        features: columns.
        repo: folder or repository that the example loads.
    """
    facts = FACTS.get(plan.name)
    title = f"{facts.title if facts else plan.name} ({plan.config})"
    rows = [["split", "rows", "left out"]]
    rows += [
        [split, f"{found.num_rows:,}", f"{len(found.skipped):,}"]
        for split, found in plan.splits.items()
    ]
    columns = [[f"`{name}`", COLUMNS[name]] for name in features if name in COLUMNS]
    parts = [
        f"---\n{_front_matter(plan, family, features, title)}\n---",
        f"# {title}",
        _about(facts),
        "## Rows",
        markdown_table(rows),
        markdown_table([["column", "content"], *columns]),
        "## Classes",
        ", ".join(f"{label} {name}" for label, name in enumerate(family.class_names)),
        "## Use",
        "```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset("{repo}", split="{next(iter(plan.splits))}")\n```',
        "Made by `mtp-hf data convert "
        + " ".join([f"{plan.name}/{plan.config}", "DIR", "OUT", *_option_words(plan)])
        + f"` from the files as published; {_treatment(features)}.",
    ]
    parts += ["## Citation", f"```bibtex\n{facts.citation}\n```"] if facts else []
    return "\n\n".join(parts) + "\n"


def _front_matter(plan: Plan, family: Family, features: datasets.Features, title: str) -> str:
    facts = FACTS.get(plan.name)
    total = sum(found.num_rows for found in plan.splits.values())
    tasks = facts.task_categories if facts else OWN_TASKS.get(family.name, ("object-detection",))
    data = DatasetCardData(
        license=facts.license if facts else None,
        task_categories=list(tasks),
        pretty_name=title,
        size_categories=next((name for limit, name in SIZES if total < limit), "n>1M"),
        tags=["remote-sensing", "aerial", "satellite", family.name.replace(" ", "-")],
        configs=[
            {
                "config_name": plan.config,
                "data_files": [
                    {"split": split, "path": f"{DATA_FOLDER}/{split}-*"} for split in plan.splits
                ],
            }
        ],
    )
    if facts and facts.license == "other":
        data["license_name"] = f"{plan.name.replace('_', '-')}-terms"
        data["license_link"] = facts.homepage
    splits = SplitDict()
    for split, found in plan.splits.items():
        splits.add(datasets.SplitInfo(split, found.num_bytes, found.num_rows))
    info = datasets.DatasetInfo(
        features=features,
        splits=splits,
        dataset_size=sum(found.num_bytes for found in plan.splits.values()),
    )
    DatasetInfosDict({plan.config: info}).to_dataset_card_data(data)
    return data.to_yaml()


def _about(facts: SetFacts | None) -> str:
    if facts is None:
        return "A data set of one's own."
    kind = facts.task[0].upper() + facts.task[1:]
    return f"{kind}. Source: <{facts.homepage}>.\n\n**Terms:** {facts.terms}."


def _treatment(features: datasets.Features) -> str:
    if "tile" in features:
        return "pictures and annotations were cut into tiles, as the builder of this config says"
    return "no annotation was clipped or changed"


def _option_words(plan: Plan) -> list[str]:
    return [f"--option {key}={value}" for key, value in plan.options.items()]
