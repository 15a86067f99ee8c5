"""The README card of a finetuned network: task, classes, metric, recipe, data and how to use it.

Pictures of the data set stay out of it, because hardly any set allows to pass them on: the example
of the Hub's widget is a generated scene.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from mtp_hf.dataset_scripts.facts import FACTS
from mtp_hf.hub.card import EXAMPLE_FILE, PAPER, PAPER_URL, markdown_table, steps_words
from mtp_hf.metrics.finetuning import HEADLINES


@dataclasses.dataclass(frozen=True)
class TaskOnHub:
    """How the Hub speaks of a task.

    Args:
        title: the task in words.
        measured_as: the Hub's word for the task, by which models are found and results grouped.
        pipeline: of transformers that runs it, or None.
        found: what `mtp_hf.predict` gives.
    """

    title: str
    measured_as: str
    pipeline: str | None
    found: str


TASKS_ON_HUB: dict[str, TaskOnHub] = {
    "scene_classification": TaskOnHub(
        "scene classification",
        "image-classification",
        "image-classification",
        "`scores` of all classes and the best one, `label`",
    ),
    "horizontal_detection": TaskOnHub(
        "object detection",
        "object-detection",
        "object-detection",
        "`scores`, `labels` and `boxes` x1 y1 x2 y2",
    ),
    "rotated_detection": TaskOnHub(
        "rotated object detection",
        "object-detection",
        None,
        "`scores`, `labels` and `rotated_boxes` cx cy w h angle, in radians, clockwise",
    ),
    "semantic_segmentation": TaskOnHub(
        "semantic segmentation",
        "image-segmentation",
        "image-segmentation",
        "`semantic_map`, the class of every pixel",
    ),
    "change_detection": TaskOnHub(
        "change detection",
        "image-segmentation",
        None,
        "`change_map`, 1 where something changed",
    ),
}
# Metric -> the Hub's word for it; others are average precisions.
HUB_METRICS = {
    "accuracy": "accuracy",
    "top5_accuracy": "accuracy",
    "overall_accuracy": "accuracy",
    "miou": "mean_iou",
    "mean_f1": "f1",
    "changed_f1": "f1",
    "changed_iou": "mean_iou",
    "changed_precision": "precision",
    "changed_recall": "recall",
}


@dataclasses.dataclass(frozen=True)
class FinetunedFacts:
    """What the card of a finetuned network tells.

    Args:
        name: of the recipe, with its row.
        about: sentences about the network.
        task: key of `TASKS_ON_HUB`.
        network: its class, backbone and input, in words.
        class_names: K names.
        dataset: name of the builder.
        config: of the builder.
        train_split: trained on.
        evaluate_split: measured on.
        num_train: images that were trained on.
        num_evaluated: images that were measured on.
        init: what the weights started from; None for a random start.
        steps: optimizer steps done.
        planned_steps: optimizer steps of the whole schedule; with fewer done the card says so.
        window: side and stride of windows that large images are read by; None: whole.
        metrics: of `TaskEvaluator.compute`; empty where nothing was measured.
        published: metric -> percent in the paper or the authors' logs, of the very same experiment.
        recipe_yaml: the resolved recipe.
        versions: of the libraries.
        pictures: title -> file beside the card.
    """

    name: str
    about: str
    task: str
    network: str
    class_names: Sequence[str]
    dataset: str
    config: str | None
    train_split: str
    evaluate_split: str | None
    num_train: int
    num_evaluated: int
    init: str | None
    steps: int
    planned_steps: int
    window: tuple[int, int] | None
    metrics: Mapping[str, Any]
    published: Mapping[str, float]
    recipe_yaml: str
    versions: Mapping[str, str]
    pictures: Mapping[str, str] = dataclasses.field(default_factory=dict)


def render_finetuned_card(facts: FinetunedFacts, folder: str) -> str:
    """Render the card of a folder, which its examples load."""
    task = TASKS_ON_HUB[facts.task]
    steps = steps_words(facts.steps, facts.planned_steps)
    parts = [
        f"---\n{_front_matter(facts)}\n---",
        f"# {facts.name}",
        *([facts.about] if facts.about else []),
        f"{task.title.capitalize()} of remote-sensing images: {facts.network}; {steps}."
        f" Method: [{PAPER}]({PAPER_URL}).",
        "## Use\n\n" + _usage(facts, folder),
        f"## Classes\n\n{len(facts.class_names)}: {', '.join(facts.class_names)}.",
        "## Data\n\n" + _data_section(facts),
        "## Metrics\n\n" + _metrics_section(facts),
        *(f"## {name}\n\n![{name}]({file})" for name, file in facts.pictures.items()),
        f"## Recipe\n\n```yaml\n{facts.recipe_yaml.rstrip()}\n```",
        "Made with " + ", ".join(f"{name} {text}" for name, text in facts.versions.items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


PREDICT = """\
```python
import mtp_hf
from PIL import Image

image = Image.new("RGB", (256, 256))  # yours
found = mtp_hf.predict("{repo}", {images})
```
"""
PIPELINE = """\
```python
from PIL import Image
from transformers import pipeline

run = pipeline("{pipeline}", model="{repo}", trust_remote_code=True)
found = run(Image.new("RGB", (256, 256)))
```
"""
AUTO_CLASSES = """\
```python
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

processor = AutoImageProcessor.from_pretrained("{repo}", trust_remote_code=True)
model = AutoModel.from_pretrained("{repo}", trust_remote_code=True).eval()
image = Image.new("RGB", (256, 256))
inputs = processor({images}, return_tensors="pt")
found = model.predict(**inputs)[0]
```
"""


def _usage(facts: FinetunedFacts, repo: str) -> str:
    """Examples with the package and without it; all run as they stand."""
    task = TASKS_ON_HUB[facts.task]
    images = "image, image" if facts.task == "change_detection" else "image"
    with_package = PREDICT.format(repo=repo, images=images)
    without = PIPELINE if task.pipeline else AUTO_CLASSES
    pair = " `image` twice stands for the images before and after." if "," in images else ""
    words = "With the package `mtp_hf`; its own code is used, whatever lies beside the weights:"
    windows = ""
    if facts.window:
        windows = " It is made by windows of {} pixels every {}.".format(*facts.window)
    remark = ""
    if task.pipeline:
        remark = (
            f"After `import mtp_hf` the pipeline `{task.pipeline}` of transformers runs the network"
            " by name as well"
        )
        remark += ", on whole images instead of windows.\n\n" if facts.window else ".\n\n"
    return (
        f"{words}\n\n{with_package}\n"
        f"`found` has {task.found}, in pixels of the image.{pair}{windows}\n\n{remark}"
        "Without the package, the code that lies beside the weights is used:\n\n"
        + without.format(repo=repo, images=images, pipeline=task.pipeline).rstrip()
    )


def _front_matter(facts: FinetunedFacts) -> str:
    task = TASKS_ON_HUB[facts.task]
    widget = [{"src": EXAMPLE_FILE, "example_title": "A generated scene"}]
    data = ModelCardData(
        **_licence(facts.dataset),
        library_name="transformers",
        pipeline_tag=task.measured_as,
        tags=["remote-sensing", "aerial", "satellite", "vision", facts.task.replace("_", "-")],
        base_model=facts.init if facts.init and "/" in facts.init else None,
        datasets=[facts.dataset] if facts.dataset in FACTS else None,
        metrics=sorted({HUB_METRICS.get(name, "map") for name in HEADLINES[facts.task]}),
        model_name=facts.name,
        widget=widget,
        eval_results=_eval_results(facts) or None,
    )
    return data.to_yaml()


def _licence(dataset: str) -> dict[str, str]:
    """What the data allow holds for the network, as far as anyone knows."""
    if dataset not in FACTS:
        return {"license": "unknown"}
    if FACTS[dataset].license != "other":
        return {"license": FACTS[dataset].license}
    name = f"{dataset.replace('_', '-')}-terms"
    link = FACTS[dataset].homepage
    return {"license": "other", "license_name": name, "license_link": link}


def _eval_results(facts: FinetunedFacts) -> list[EvalResult]:
    task = TASKS_ON_HUB[facts.task]
    values = {name: facts.metrics.get(name, math.nan) for name in HEADLINES[facts.task]}
    return [
        EvalResult(
            task_type=task.measured_as,
            dataset_type=facts.dataset,
            dataset_config=facts.config,
            dataset_name=_title(facts.dataset),
            dataset_split=facts.evaluate_split,
            metric_type=HUB_METRICS.get(name, "map"),
            metric_name=HEADLINES[facts.task][name],
            metric_value=round(value, 4),
        )
        for name, value in values.items()
        if not math.isnan(value)
    ]


def _data_section(facts: FinetunedFacts) -> str:
    rows = [["", "split", "images"], ["training", facts.train_split, f"{facts.num_train:,}"]]
    if facts.evaluate_split:
        rows.append(["measured on", facts.evaluate_split, f"{facts.num_evaluated:,}"])
    known = FACTS.get(facts.dataset)
    parts = [
        _title(facts.dataset) + (f", `{facts.config}`" if facts.config else "") + ".",
        markdown_table(rows),
        f"Terms of the data: {known.terms}. See {known.homepage}."
        if known
        else "The terms of the data are known to whoever trained the network.",
    ]
    if known:
        parts.append(f"```bibtex\n{known.citation}\n```")
    if facts.init:
        parts.append(f"Started from `{facts.init}`, whose terms hold as well.")
    return "\n\n".join(parts)


def _metrics_section(facts: FinetunedFacts) -> str:
    if not facts.metrics:
        return "Not measured."
    rows = [["metric", "this network", "published"]]
    for name, heading in HEADLINES[facts.task].items():
        value, published = facts.metrics[name], facts.published.get(name)
        reached = "-" if math.isnan(value) else f"{100 * value:.2f}"
        rows.append([heading, reached, "-" if published is None else f"{published:g}"])
    return (
        f"Percent, on {facts.num_evaluated:,} images of `{facts.evaluate_split}`.\n\n"
        f"{markdown_table(rows)}\n\nBy class:\n\n```\n{facts.metrics['table']}\n```"
    )


def _title(dataset: str) -> str:
    return FACTS[dataset].title if dataset in FACTS else f"a data set of one's own ({dataset})"
