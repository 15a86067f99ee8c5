"""Networks that are finished: loaded from a folder, from the Hub, or from a checkpoint of a run.

A folder or repository in Hub layout says itself what it is; a checkpoint holds weights alone, and
the recipe says of which network. Either way the network has to fit the recipe and the classes of
the data, or nothing is computed.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedModel

from mtp_hf.hub.whole_model import load_whole, read_config, read_tensors
from mtp_hf.training.architectures import build_network, find_architecture
from mtp_hf.training.finetune_schema import FinetuneRecipe
from mtp_hf.training.finetuning_data import find_class_names, open_rows
from mtp_hf.training.starting_weights import find_weights

RECIPE_FILE, WEIGHTS_FILE = "recipe.yaml", "model.safetensors"


def find_model(name: str) -> Path:
    """Find the folder of a model here, else on the Hub.

    Raises:
        ValueError: there is none of this name, or it is a file or a folder without a model.
    """
    folder = find_weights(name, "--model")
    if folder.is_file():
        raise ValueError(
            f"--model={name} is a file; expected a folder (`mtp-hf convert` makes one of a file of"
            " the original)"
        )
    if not any((folder / each).is_file() for each in ("config.json", WEIGHTS_FILE)):
        raise ValueError(
            f"--model={name} holds no model: expected config.json and {WEIGHTS_FILE}, or a"
            " checkpoint of a run"
        )
    return folder


def recipe_beside(model: Path) -> Path | None:
    """Return the recipe of the run that a model or a checkpoint lies in, if it does."""
    for folder in (model, model.resolve().parent):
        if (folder / RECIPE_FILE).is_file():
            return folder / RECIPE_FILE
    return None


def class_names_of(model: Path, recipe: FinetuneRecipe) -> list[str]:
    """Return the names of a model's classes, from its config, else from the data of the recipe."""
    names = _names_in_config(model)
    if not names or all(name.startswith("LABEL_") for name in names):
        names = find_class_names(recipe, open_rows(recipe, "validation"))
    return names


def load_network(
    model: Path, recipe: FinetuneRecipe, class_names: Sequence[str]
) -> PreTrainedModel:
    """Load a network that does what a recipe says, on the CPU and ready to predict.

    Args:
        model: folder, see `find_model`.
        recipe: task and architecture.
        class_names: K names of the data's classes, in label order.

    Raises:
        ValueError: another kind of model, other classes, or weights that are not all there.
    """
    if (model / "config.json").is_file():
        network = _load_folder(model, recipe, class_names)
    else:
        network = _load_checkpoint(model, recipe, class_names)
    return network.eval()


def check_classes(found: Sequence[str], expected: Sequence[str], where: Path) -> None:
    """Check that a model has the classes of the data.

    Args:
        found: names in the model's config; `LABEL_0` and so on are no names.
        expected: K names of the data.
        where: the model, for the message.

    Raises:
        ValueError: another number of classes, or other names.
    """
    if len(found) != len(expected):
        raise ValueError(
            f"the model in {where} has {len(found)} classes ({_some(found)}), the data"
            f" {len(expected)} ({_some(expected)})"
        )
    if all(name.startswith("LABEL_") for name in found):
        return
    for label, (own, wanted) in enumerate(zip(found, expected, strict=True)):
        if own != wanted:
            raise ValueError(
                f"class {label} of the model in {where} is {own!r}, of the data {wanted!r}"
            )


def _names_in_config(folder: Path) -> list[str]:
    config = read_config(folder) if (folder / "config.json").is_file() else {}
    names = {int(label): name for label, name in (config.get("id2label") or {}).items()}
    return [names[label] for label in sorted(names)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _load_folder(
    folder: Path, recipe: FinetuneRecipe, class_names: Sequence[str]
) -> PreTrainedModel:
    config = read_config(folder)
    found = (config.get("architectures") or [config.get("model_type")])[0]
    fitting = find_architecture(recipe.model.architecture).models.values()
    kinds = {kind.__name__: kind for kind in fitting}
    if found not in kinds:
        raise ValueError(
            f"{folder} holds a {found}; task={recipe.task} with"
            f" model.architecture={recipe.model.architecture} expects {' or '.join(kinds)}"
        )
    check_classes(_names_in_config(folder), class_names, folder)
    return load_whole(kinds[found], folder)


def _load_checkpoint(
    folder: Path, recipe: FinetuneRecipe, class_names: Sequence[str]
) -> PreTrainedModel:
    network = build_network(recipe, class_names)
    weights = read_tensors(folder / WEIGHTS_FILE)
    own = network.state_dict()
    missing, unused = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    other = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    if missing or unused or other:
        raise ValueError(
            f"{folder} is not of the network of recipe {recipe.name}: {len(missing)} tensors are"
            f" missing, {len(unused)} left over, {len(other)} of another size, such as"
            f" {(other or missing or unused)[0]}"
        )
    network.load_state_dict(weights)
    return network
