"""From a recipe to the network: its configs, and the weights that its backbone starts from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import PreTrainedConfig

from mtp_hf.conversion.checkpoint_file import read_checkpoint
from mtp_hf.modeling.configuration_mask_rcnn import MaskRCNNConfig
from mtp_hf.modeling.configuration_mtp import MTPPreTrainingConfig
from mtp_hf.modeling.configuration_oriented_rcnn import OrientedRCNNConfig
from mtp_hf.modeling.configuration_upernet_rs import UperNetRSConfig
from mtp_hf.modeling.configuration_vit_rvsa import VIT_RVSA_SIZES, ViTRVSAConfig
from mtp_hf.modeling.convert_internimage import INTERNIMAGE_TABLE
from mtp_hf.modeling.convert_mtp_checkpoint import VIT_RVSA_TABLE, load_original_weights
from mtp_hf.modeling.modeling_mtp import MTPForPreTraining
from mtp_hf.modeling.modeling_vit_rvsa import ViTRVSABackbone
from mtp_hf.training.pretrain_schema import Recipe

# Backbone -> names in files of the original.
ORIGINAL_TABLES = {"mtp_vit_rvsa": VIT_RVSA_TABLE, "mtp_internimage": INTERNIMAGE_TABLE}


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


def start_backbone(backbone: ViTRVSABackbone, init: str) -> str:
    """Give a backbone the weights that a recipe starts from.

    Args:
        backbone: changed in place.
        init: folder of an encoder saved by this package, or a `.pth` or `.safetensors` file of the
            original: MAE or ImageNet weights, or an MTP encoder to be pretrained further.

    Returns:
        What was used, missing and left over, for the log.

    Raises:
        ValueError: there is no such file, it is of another kind, or nothing in it fits.
    """
    path = Path(init).expanduser()
    if path.is_dir():
        missing, unused, num_used = _copy_encoder(path, backbone)
    elif not path.exists():
        raise ValueError(f"model.init={init}: no such file or folder")
    else:
        weights, table = read_weights(path), ORIGINAL_TABLES[backbone.config.model_type]
        try:
            report = load_original_weights(backbone, weights, table)
        except ValueError as error:
            raise ValueError(f"model.init={init}: {error}") from None
        missing, unused, num_used = report["missing"], report["unused"], len(report["used"])
    if not num_used:
        raise ValueError(f"model.init={init}: none of its {len(unused)} tensors fits")
    return f"start from {path}: {num_used} tensors; new: {missing}; not used: {unused}"


def _copy_encoder(folder: Path, backbone: ViTRVSABackbone) -> tuple[list[str], list[str], int]:
    """Copy the weights of a saved encoder; return missing names, unused names, number used."""
    kind, own = PreTrainedConfig.get_config_dict(folder)[0].get("model_type"), backbone.config
    if kind != own.model_type:
        raise ValueError(f"model.init={folder} holds {kind}; the backbone is {own.model_type}")
    encoder = type(backbone).from_pretrained(folder)
    native = encoder.config.image_size
    has_tables = isinstance(own, ViTRVSAConfig)
    if has_tables and native != own.image_size:
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
