"""What the card of a finetuned network tells, and the processor that does what evaluation does."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import BaseImageProcessor

from mtp_hf.hub.card import library_versions
from mtp_hf.hub.finetuned_card import FinetunedFacts
from mtp_hf.modeling.image_processing_classification import ClassificationImageProcessor
from mtp_hf.training.architectures import find_architecture
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.recipe import comparable_numbers, recipe_to_yaml, without_paths
from mtp_hf.training.tasks import evaluation_arguments


def gather_facts(
    recipe: FinetuneRecipe,
    class_names: Sequence[str],
    *,
    num_images: tuple[int, int],
    steps: int,
    planned_steps: int,
    metrics: Mapping[str, Any],
) -> FinetunedFacts:
    """Gather what the card tells.

    Args:
        recipe: as it was given, in epochs or steps.
        class_names: K names.
        num_images: to train and to measure on.
        steps: optimizer steps done.
        planned_steps: optimizer steps of the whole schedule.
        metrics: of the last evaluation; may be empty.
    """
    data, model = recipe.data, recipe.model
    published = without_paths(recipe)
    window, stride = recipe.evaluation.window, recipe.evaluation.stride
    return FinetunedFacts(
        name=recipe.name + (f", row {recipe.result}" if recipe.result else ""),
        about=recipe.about,
        task=recipe.task,
        network=f"{model.architecture} on {model.backbone}, {data.image_size} px",
        class_names=class_names,
        dataset=data.builder,
        config=data.config,
        train_split=data.train,
        evaluate_split=data.evaluate,
        num_train=num_images[0],
        num_evaluated=num_images[1],
        init=published.model.init or published.model.init_decoder,
        steps=steps,
        planned_steps=planned_steps,
        window=(window, stride) if window and stride else None,
        metrics=metrics,
        published=comparable_numbers(recipe),
        recipe_yaml=recipe_to_yaml(published),
        versions=library_versions(),
    )


def evaluation_processor(recipe: FinetuneRecipe) -> BaseImageProcessor:
    """Make the image processor whose settings are those of the recipe's evaluation."""
    kind = find_architecture(recipe.model.architecture).processor
    arguments = evaluation_arguments(recipe)
    size = arguments["image_size"]
    if size is None:  # as stored
        return kind(do_resize=False)
    height, width = size if isinstance(size, list | tuple) else (size, size)
    box = {"height": height, "width": width}
    if kind is ClassificationImageProcessor:
        return kind(size={"shortest_edge": arguments["resize_size"]}, crop_size=box)
    return kind(size=box)
