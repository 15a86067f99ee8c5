"""From a recipe to the network: its configs, and the weights that its backbone starts from."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import PreTrainedModel

from mtp_hf.conversion.backbones import BACKBONE_KINDS
from mtp_hf.conversion.checkpoint_file import read_checkpoint
from mtp_hf.hub.whole_model import class_named, load_whole, read_config
from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES, ViTRVSAConfig
from mtp_hf.modeling.convert_internimage import INTERNIMAGE_TABLE
from mtp_hf.modeling.convert_mtp_checkpoint import (
    VIT_RVSA_TABLE,
    RenameTable,
    load_original_weights,
)
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.training.pretrain_schema import Recipe

# Backbone -> names in files of the original.
ORIGINAL_TABLES = {"mtp_vit_rvsa": VIT_RVSA_TABLE, "mtp_internimage": INTERNIMAGE_TABLE}
OWN_NAMES: RenameTable = ((r"(.*)", r"\1"),)  # of a file that this package wrote
# Parameter of a layer, under our name or the original's; without one it is a whole other network.
LAYER = re.compile(r"(?:backbone\.|encoder\.)?(?:layers|blocks|stages|levels)\.\d+\..*")
# Those that a plain vision transformer lacks, that detectors lack, and constants.
OPTIONAL = re.compile(
    r".*\.(?:sampling_|rel_pos_|full_attn_rel_pos_|relative_position_)\w+(?:\..*)?"
)


def build_config(recipe: Recipe, class_names: Mapping[str, Sequence[str]]) -> MTPPreTrainingConfig:
    """Make the config of the network that a recipe describes.

    Args:
        recipe: `model`, `data.image_size` (the native size of the position tables) and the tasks of
            each source.
        class_names: foreground classes of each source.

    Raises:
        ValueError: a field of `model.*` that its config lacks, or a value that does not fit.
    """
    model = recipe.model
    size = VIT_RVSA_SIZES[model.backbone] | {"image_size": recipe.data.image_size}
    parts = {
        "backbone_config": (ViTRVSAConfig, size | model.backbone_overrides, "backbone_overrides"),
        "semantic_config": (UperNetRSConfig, model.semantic, "semantic"),
        "instance_config": (MaskRCNNConfig, model.instance, "instance"),
        "rotated_config": (OrientedRCNNConfig, model.rotated, "rotated"),
    }
    configs = {}
    for name, (config_class, fields, section) in parts.items():
        try:
            configs[name] = config_class(**fields)
        except (TypeError, ValueError, StrictDataclassError) as error:
            raise ValueError(f"recipe {recipe.name}: model.{section}: {error}") from error
    return MTPPreTrainingConfig(
        class_names={name: list(names) for name, names in class_names.items()},
        dataset_tasks={name: list(each.tasks) for name, each in recipe.data.sources.items()},
        **configs,
    )


def build_model(recipe: Recipe, class_names: Mapping[str, Sequence[str]]) -> MTPForPreTraining:
    """Make the network of a recipe with random weights."""
    model = MTPForPreTraining(build_config(recipe, class_names))
    if recipe.efficiency.activation_checkpointing:
        model.activation_checkpointing_enable()
    return model


def start_backbone(backbone: PreTrainedModel, init: str) -> str:
    """Give a backbone the weights that a recipe starts from.

    Args:
        backbone: changed in place.
        init: folder of an encoder saved by this package, or a `.pth` or `.safetensors` file of the
            original: MAE or ImageNet weights, or an MTP encoder to be pretrained further; or a file
            of weights saved by this package.

    Returns:
        What was used, missing and left over, for the log.

    Raises:
        ValueError: there is no such file, it is of another kind or size, or nothing in it fits.
    """
    path = Path(init).expanduser()
    if path.is_dir():
        missing, unused, num_used = _copy_encoder(path, backbone)
    elif not path.exists():
        raise ValueError(f"model.init={init}: no such file or folder")
    else:
        weights = read_weights(path)
        try:
            report = load_original_weights(backbone, weights, _table(backbone, weights))
        except ValueError as error:
            raise ValueError(f"model.init={init}: {error}") from None
        missing, unused, num_used = report["missing"], report["unused"], len(report["used"])
    if not num_used:
        raise ValueError(
            f"model.init={init}: none of its {len(unused)} tensors fits: it holds"
            f" {_kind_of(unused)}, the recipe has a {backbone.config.model_type} (model.backbone)"
        )
    check_layers(missing, unused, f"model.init={init}")
    about = f"start from {path}: {num_used} tensors"
    return f"{about}; new: {some_names(missing)}; not used: {some_names(unused)}"


def some_names(names: Sequence[str]) -> str:
    """List names for the log; of many, the first ones and how many more."""
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown or "none"


def check_layers(missing: Sequence[str], unused: Sequence[str], source: str) -> None:
    """Check that the layers of a checkpoint are those of a network.

    Args:
        missing: parameters of the network that the checkpoint lacks.
        unused: of the checkpoint, which the network lacks.
        source: of the checkpoint, for the message.

    Raises:
        ValueError: there are such parameters of layers, besides those that not every kind has.
    """
    found = {
        what: [name for name in names if LAYER.fullmatch(name) and not OPTIONAL.fullmatch(name)]
        for what, names in (("missing", missing), ("not used", unused))
    }
    told = [
        f"{len(names)} are {what}, such as {names[0]}" for what, names in found.items() if names
    ]
    if told:
        raise ValueError(
            f"{source}: its layers are not those of the recipe's network (model.backbone);"
            f" of the parameters {' and '.join(told)}"
        )


def _table(backbone: PreTrainedModel, weights: Mapping[str, Tensor]) -> RenameTable:
    """Return the names in a file: ours, of which some begin with `embeddings`, or original ones."""
    if any(re.match(r"(backbone\.)?embeddings\.", name) for name in weights):
        return OWN_NAMES
    return ORIGINAL_TABLES[backbone.config.model_type]


def _kind_of(names: Sequence[str]) -> str:
    """Tell the kind of a checkpoint by its keys."""
    for kind in BACKBONE_KINDS.values():
        if any(re.search(kind.mark, name) for name in names):
            return f"weights of a {kind.title}"
    return f"keys such as {', '.join(names[:3])}"


def _copy_encoder(folder: Path, backbone: PreTrainedModel) -> tuple[list[str], list[str], int]:
    """Copy the weights of a saved encoder; return missing names, unused names, number used."""
    config, own = read_config(folder), backbone.config
    kind = (config.get("backbone_config") or config).get("model_type")
    if kind != own.model_type:
        raise ValueError(f"model.init={folder} holds {kind}; the backbone is {own.model_type}")
    encoder = load_whole(class_named(config) or type(backbone), folder).base_model
    native = encoder.config.image_size
    if isinstance(own, ViTRVSAConfig) and native != own.image_size:
        raise ValueError(
            f"model.init={folder} has position tables for {native} px, the recipe makes them for"
            f" {own.image_size} px: add model.backbone_overrides.image_size={native};"
            " the tables are interpolated to the training size in the forward pass"
        )
    try:
        outcome = backbone.load_state_dict(encoder.state_dict(), strict=False)
    except RuntimeError as error:
        raise ValueError(f"model.init={folder}: another size of network: {error}") from None
    unused = list(outcome.unexpected_keys)
    return list(outcome.missing_keys), unused, len(encoder.state_dict()) - len(unused)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a weights file without running any code in it.

    Raises:
        ValueError: no such file, or no weights in it.
    """
    try:
        return read_checkpoint(path).state_dict
    except ValueError as error:
        raise ValueError(f"model.init={error}") from None
