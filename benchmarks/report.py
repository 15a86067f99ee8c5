"""What a benchmark reports: rows with a target, the Markdown of them, and the machine."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")
PACKAGES = ("torch", "torchvision", "transformers", "timm", "numpy")


class NotHereError(RuntimeError):
    """The machine lacks what a benchmark measures."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured number.

    Args:
        case: what was measured.
        value: the number, None where this machine cannot tell.
        unit: of the number; `x` is a ratio, `V` the time of `timing.forward_of_plain_vit`.
        at_most: target, if there is an upper one.
        at_least: target, if there is a lower one.
        note: seconds, sizes and counts behind the number.
    """

    case: str
    value: float | None
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without a target or a number."""
        if self.value is None or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def cells(self) -> list[str]:
        """Return the cells of the row in Markdown: case, measured, target, met, how."""
        measured = "-" if self.value is None else f"{self._digits()} {self.unit}"
        bounds = (("at most", self.at_most), ("at least", self.at_least))
        target = ", ".join(f"{word} {_digits(n)}" for word, n in bounds if n is not None)
        met = {True: "met", False: "missed", None: ""}[self.is_met]
        return [self.case, measured, target, met, self.note]

    def _digits(self) -> str:
        """Write the number with three digits, or as many as tell it from a missed bound."""
        assert self.value is not None
        text = _digits(self.value)
        bounds = [_digits(n) for n in (self.at_most, self.at_least) if n is not None]
        return f"{self.value:.4g}" if self.is_met is False and text in bounds else text


def markdown_table(rows: Sequence[Row]) -> str:
    """Write rows as a Markdown table."""
    head = ["case", "measured", "target", "", "how"]
    lines = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def describe_machine() -> str:
    """Name processor, cores, GPU and versions in one paragraph."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{_processor()}, {cores} cores, {gpu}. Python {platform.python_version()}, {versions}. "
        "A ratio is the median over rounds that time both sides in turn."
    )


def has_bf16_instructions() -> bool:
    """Tell whether the processor multiplies bf16 numbers itself (x86 or ARM, on Linux)."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(_cpu_fields().get("flags", "").split()))


def _processor() -> str:
    """Name of the processor, with the instructions that matter here."""
    fields = _cpu_fields()
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16")
    flags = [flag for flag in wanted if flag in fields.get("flags", "").split()]
    name = fields.get("model name", platform.processor() or platform.machine())
    return f"{name} ({', '.join(flags)})" if flags else name


def _cpu_fields() -> dict[str, str]:
    """Read what Linux says of the last processor; `flags` whatever it is called."""
    if not CPU_INFO.exists():
        return {}
    lines = (line.split(":", 1) for line in CPU_INFO.read_text().splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in lines}
    return {"flags": fields.get("Features", "")} | fields


def _digits(number: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
