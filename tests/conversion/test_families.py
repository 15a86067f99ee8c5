"""Claims about telling the kinds of checkpoints apart."""

import pytest

from mtp_hf.conversion.backbones import BACKBONE_KINDS
from mtp_hf.conversion.families import FAMILIES, backbone_prefix, recognise_family
from mtp_hf.hub.bundle import AUTO_CLASSES
from mtp_hf.modeling.convert_mtp_checkpoint import invert_table
from tests.conversion.tiny_originals import TINY_FAMILIES, tiny_original


def _shapes(name):
    return {key: tuple(tensor.shape) for key, tensor in tiny_original(name).items()}


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_every_family_is_told_by_its_keys_and_has_its_prefix(name):
    shapes = _shapes(name)
    family, prefix = TINY_FAMILIES[name]
    assert recognise_family(shapes) == family
    assert backbone_prefix(FAMILIES[family], shapes) == prefix


@pytest.mark.parametrize("prefix", ["encoder.", "backbone."])
def test_backbones_may_lie_below_a_prefix(prefix):
    shapes = {prefix + key: shape for key, shape in _shapes("internimage").items()}
    assert recognise_family(shapes) == "backbone"
    assert backbone_prefix(FAMILIES["backbone"], shapes) == prefix


def test_proposals_without_numbers_are_not_oriented():
    shapes = _shapes("faster_rcnn")
    shapes |= {"rpn_head.rpn_cls.weight": (), "rpn_head.rpn_reg.weight": (0,)}
    assert recognise_family(shapes) == "faster_rcnn"


def test_a_classifier_is_told_by_either_part_of_its_last_layer():
    shapes = {k: v for k, v in _shapes("classifier").items() if k != "head.fc.weight"}
    assert recognise_family(shapes) == "classifier"


def test_all_tables_lead_back_and_all_models_ship_their_code():
    for family in FAMILIES.values():
        assert len(invert_table(family.table)) == sum(new is not None for _, new in family.table)
        for kind in BACKBONE_KINDS:
            assert family.model_class(kind) in AUTO_CLASSES


def test_other_architecture_is_refused_with_what_was_found_and_expected():
    with pytest.raises(
        ValueError, match=r"its 1 keys begin with conv1\.weight; expected one of MTP"
    ):
        recognise_family({"conv1.weight": (1,)})
