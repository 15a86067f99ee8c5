"""Claims about the report of a conversion."""

import pytest

from mtp_hf.conversion.report import (
    CONSTANT,
    WHY_MISSING,
    WHY_UNUSED,
    WHY_UNUSED_OF_BACKBONE,
    ConversionReport,
    KeyFate,
    reason_for,
)

REPORT = ConversionReport(
    "family",
    "Model",
    [
        KeyFate("a.0", "b.0"),
        KeyFate("c.0", None, "why"),
        KeyFate("c.1", None, "why"),
        KeyFate("odd", None),
        KeyFate(None, "n", "later"),
        KeyFate(None, "lost"),
    ],
    {"x": "1, since"},
    ["by the way"],
)


def test_fates_are_told_apart():
    assert REPORT.converted == {"a.0": "b.0"}
    assert REPORT.unused == {"c.0": "why", "c.1": "why", "odd": None}
    assert REPORT.missing == {"n": "later", "lost": None}
    assert REPORT.unexplained == ["odd is not used", "lost is missing"]


def test_summary_groups_keys_that_differ_in_numbers():
    assert REPORT.summary().splitlines() == [
        "family -> Model: 1 tensors converted",
        "  unused: c.N (2): why",
        "  unused: odd (1): UNEXPLAINED",
        "  missing: n (1): later",
        "  missing: lost (1): UNEXPLAINED",
        "  assumed: x = 1, since",
        "  note: by the way",
    ]


def test_written_report_holds_every_key():
    written = REPORT.to_dict()
    assert sum(len(written[part]) for part in ("converted", "unused", "missing")) == 6


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("encoder.blocks.3.attn.relative_position_index", CONSTANT),
        ("norm.weight", "final norm"),
        ("backbone.fpn1.1.ln.bias", "pyramid"),
        ("semsegdecoder.decode_head.conv_seg.bias", "never run"),
        ("backbone.blocks.0.norm1.weight", None),
        ("cls_token", None),
    ],
)
def test_reasons_cover_what_the_original_never_applies_and_nothing_else(key, words):
    reason = reason_for(key, WHY_UNUSED)
    assert reason is None if words is None else words in reason


@pytest.mark.parametrize("key", ["cls_token", "mask_token", "decoder_blocks.0.x", "head.weight"])
def test_files_of_a_backbone_may_hold_more(key):
    assert reason_for(key, WHY_UNUSED_OF_BACKBONE)


def test_counters_may_be_missing_but_statistics_may_not():
    assert reason_for("a.norm.num_batches_tracked", WHY_MISSING)
    assert reason_for("a.norm.running_mean", WHY_MISSING) is None
