"""What became of every key: converted, unused or missing, and why.

A key that is left over, or a parameter that nothing fills, is fine where a row here says why; every
other one is unexplained, and a strict conversion fails on it.

Source: original spec 1.5, 1.7, 2.1 (parameters that exist and are never applied).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

_BACKBONE = r"(?:backbone\.|encoder\.)?"
CONSTANT = "a constant that is computed here"

# Pattern of an original key that may stay unused -> why.
WHY_UNUSED = (
    (rf"{_BACKBONE}blocks\.\d+\.attn\.relative_position_index", CONSTANT),
    (
        rf"{_BACKBONE}norm\.(weight|bias)",
        "final norm, which the original's maps of several depths do not pass through",
    ),
    (
        rf"{_BACKBONE}fpn[12]\.\d\.(ln\.)?(weight|bias)",
        "pyramid, which the original does not run for this task",
    ),
    (r"semsegdecoder\.decode_head\.conv_seg\.(weight|bias)", "classifier that is never run"),
    (r"(auxiliary_head|aux_head)\..*", "auxiliary head, for training only"),
)
# The same for files that hold a backbone only.
WHY_UNUSED_OF_BACKBONE = (
    (rf"{_BACKBONE}cls_token", "class token, which MTP's networks do not have"),
    (r"mask_token|decoder_(embed|pos_embed|blocks|norm|pred)\b.*", "decoder of the autoencoder"),
    (
        r"(?:encoder\.|backbone\.)?(head|fc_norm|conv_head|clip_projector|dcnv3_head_x\d)\..*",
        "classifier of ImageNet",
    ),
)
# Pattern of a parameter of ours that may stay unfilled -> why.
WHY_MISSING = ((r".*\.num_batches_tracked", "a counter that older files lack: starts at 0"),)
WHY_MISSING_OF_PLAIN = (
    (
        r".*\battention\.(sampling_\w+|rel_pos_[hw]|relative_position_bias_table)\b.*",
        "a plain vision transformer has no windows and relative positions: starts afresh",
    ),
    (r".*\bpyramid\..*", "a plain vision transformer has no pyramid: starts afresh"),
)


@dataclass(frozen=True)
class KeyFate:
    """What became of a key.

    Args:
        original: key of the file, None for a parameter that nothing fills.
        ours: name of the parameter, None for a key that is not used.
        reason: why it is not used or not filled; None where it was converted or is unexplained.
    """

    original: str | None
    ours: str | None
    reason: str | None = None


@dataclass
class ConversionReport:
    """What a conversion did.

    Args:
        family: kind of checkpoint.
        model: class of the model that was made.
        fates: of every key, those of the file in its order, then parameters that nothing fills.
        assumed: what the keys could not tell: field -> what was taken.
        notes: what else the user may want to know.
    """

    family: str
    model: str
    fates: list[KeyFate]
    assumed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def converted(self) -> dict[str, str]:
        """Original key -> our name."""
        return {f.original: f.ours for f in self.fates if f.original and f.ours}

    @property
    def unused(self) -> dict[str, str | None]:
        """Original key -> why it is not used, None if unexplained."""
        return {f.original: f.reason for f in self.fates if f.original and f.ours is None}

    @property
    def missing(self) -> dict[str, str | None]:
        """Name of ours -> why nothing fills it, None if unexplained."""
        return {f.ours: f.reason for f in self.fates if f.ours and f.original is None}

    @property
    def unexplained(self) -> list[str]:
        """Sentences about keys for which there is no reason."""
        unused = [f"{key} is not used" for key, reason in self.unused.items() if reason is None]
        missing = [f"{name} is missing" for name, reason in self.missing.items() if reason is None]
        return unused + missing

    def to_dict(self) -> dict[str, Any]:
        """Return the report as it is written beside the weights."""
        return {
            "family": self.family,
            "model": self.model,
            "assumed": self.assumed,
            "notes": self.notes,
            "converted": self.converted,
            "unused": self.unused,
            "missing": self.missing,
        }

    def summary(self) -> str:
        """Tell the result in a few lines; keys that differ in a number only share one."""
        lines = [f"{self.family} -> {self.model}: {len(self.converted)} tensors converted"]
        for title, fates in (("unused", self.unused), ("missing", self.missing)):
            for (pattern, reason), number in _grouped(fates.items()):
                lines.append(f"  {title}: {pattern} ({number}): {reason or 'UNEXPLAINED'}")
        lines += [f"  assumed: {name} = {text}" for name, text in self.assumed.items()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def reason_for(name: str, reasons: Sequence[tuple[str, str]]) -> str | None:
    """Return the reason of the first row that matches."""
    return next((why for pattern, why in reasons if re.fullmatch(pattern, name)), None)


def _grouped(
    fates: Iterable[tuple[str, str | None]],
) -> list[tuple[tuple[str, str | None], int]]:
    """Count keys that share a reason and differ in numbers only."""
    return list(Counter((re.sub(r"\d+", "N", key), reason) for key, reason in fates).items())
