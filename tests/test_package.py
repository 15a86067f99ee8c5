import subprocess
import sys

import pytest
from transformers import AutoBackbone, AutoConfig, AutoModel, AutoModelForPreTraining

import mtp_hf
from mtp_hf.modeling import MODELS
from tests.tiny_models import TINY_BACKBONE, tiny_pretraining_config


@pytest.mark.parametrize("name", mtp_hf.__all__)
def test_public_names_exist(name):
    assert getattr(mtp_hf, name).__name__ == name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        mtp_hf.no_such_name  # noqa: B018


def test_model_types_belong_to_their_configs():
    assert all(classes[0].model_type == name for name, classes in MODELS.items())


def test_auto_classes_build_our_models():
    config = AutoConfig.for_model(**TINY_BACKBONE)
    assert type(AutoModel.from_config(config)) is mtp_hf.ViTRVSAModel
    assert type(AutoBackbone.from_config(config)) is mtp_hf.ViTRVSABackbone
    model = AutoModelForPreTraining.from_config(tiny_pretraining_config())
    assert type(model) is mtp_hf.MTPForPreTraining


def test_import_needs_neither_datasets_nor_evaluate():
    code = "import sys, mtp_hf; print([m for m in ('datasets', 'evaluate') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
