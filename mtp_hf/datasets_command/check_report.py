"""A finished check as text for people and as values for JSON."""

from typing import Any

import numpy as np

from mtp_hf.datasets_command.check import Finding, Report, SplitNumbers
from mtp_hf.hub.card import markdown_table

NUM_NAMED = 10  # things of one finding named in the text
NUM_SIZES = 3  # most frequent sizes named in the text
LONGEST_LINE = 300  # of a finding in the text
PERCENTILES = (0, 5, 50, 95, 100)


def report_values(report: Report) -> dict[str, Any]:
    """Everything a check found, as JSON takes it; all files are named."""
    return {
        "name": report.source.name,
        "config": report.source.config,
        "folder": report.source.folder,
        "family": report.family.name,
        "is_clean": report.is_clean,
        "splits": {
            split: {
                "num_records": numbers.num_records,
                "num_images": numbers.num_images,
                "sizes": {f"{w}x{h}": count for (w, h), count in numbers.sizes.most_common()},
                "class_counts": {
                    what: dict(zip(report.family.class_names, counts.tolist(), strict=True))
                    for what, counts in numbers.class_counts.items()
                },
                "boxes": {column: box_numbers(numbers, column) for column in numbers.boxes},
            }
            for split, numbers in report.splits.items()
        },
        "findings": [
            {
                "kind": finding.kind,
                "is_error": finding.is_error,
                "split": finding.split,
                "count": len(finding.items),
                "items": finding.items,
            }
            for finding in report.findings
        ],
    }


def box_numbers(numbers: SplitNumbers, column: str) -> dict[str, Any]:
    """Number of objects, objects a picture, and percentiles of the sides of the boxes."""
    sides = np.concatenate(numbers.boxes[column])[:, 2:]
    counts = numbers.num_objects[column]
    found: dict[str, Any] = {
        "num_objects": len(sides),
        "num_objects_mean": round(float(np.mean(counts)), 2),
        "num_objects_max": max(counts),
    }
    if len(sides):
        for name, values in (("shorter", sides.min(axis=1)), ("longer", sides.max(axis=1))):
            percentiles = np.percentile(values, PERCENTILES)
            found[f"{name}_side_px"] = dict(
                zip(map(str, PERCENTILES), percentiles.round(1).tolist(), strict=True)
            )
    return found


def report_text(report: Report) -> str:
    """Tables of the numbers, then what is wrong, then remarks."""
    classes = f"{len(report.family.class_names)} classes"
    parts = [f"{report.source} in {report.source.folder}: {report.family.name}, {classes}"]
    parts.append(markdown_table(_split_rows(report)))
    parts += [markdown_table(rows) for rows in (_class_rows(report), _box_rows(report)) if rows]
    for title, is_error in (("wrong", True), ("remarks", False)):
        findings = [finding for finding in report.findings if finding.is_error is is_error]
        if findings:
            parts.append("\n".join([f"{title}:", *(_finding_text(found) for found in findings)]))
    parts.append(_verdict(report))
    return "\n\n".join(parts)


def _split_rows(report: Report) -> list[list[str]]:
    rows = [["split", "records", "pictures", "pixels (width x height)"]]
    for split, numbers in report.splits.items():
        common = numbers.sizes.most_common(NUM_SIZES)
        sizes = ", ".join(f"{width} x {height}: {count:,}" for (width, height), count in common)
        more = len(numbers.sizes) - len(common)
        sizes += f", {more:,} other sizes" if more > 0 else ""
        rows.append([split, f"{numbers.num_records:,}", f"{numbers.num_images:,}", sizes or "-"])
    return rows


def _class_rows(report: Report) -> list[list[str]]:
    columns = [
        (f"{split}, {what}", counts)
        for split, numbers in report.splits.items()
        for what, counts in numbers.class_counts.items()
    ]
    if not columns:
        return []
    rows = [["class", *(title for title, _ in columns)]]
    for label, name in enumerate(report.family.class_names):
        rows.append([name, *(f"{counts[label]:,}" for _, counts in columns)])
    return rows


def _box_rows(report: Report) -> list[list[str]]:
    rows = []
    for split, numbers in report.splits.items():
        for column in numbers.boxes:
            found = box_numbers(numbers, column)
            sides = [found.get(f"{name}_side_px", {}) for name in ("shorter", "longer")]
            rows.append(
                [
                    f"{split}, {column}",
                    f"{found['num_objects']:,}",
                    f"{found['num_objects_mean']:g}, {found['num_objects_max']:,}",
                    *(" / ".join(f"{value:g}" for value in side.values()) or "-" for side in sides),
                ]
            )
    if not rows:
        return []
    percent = " / ".join(map(str, PERCENTILES)) + " %"
    heading = ["boxes", "number", "a picture (mean, most)"]
    sides = [f"{name} side in px ({percent})" for name in ("shorter", "longer")]
    return [[*heading, *sides], *rows]


def _finding_text(finding: Finding) -> str:
    lines = [f"  {finding.kind} ({finding.split}): {len(finding.items):,}"]
    for line in (line for item in finding.items[:NUM_NAMED] for line in item.splitlines()):
        lines.append(f"    {line[:LONGEST_LINE]}{' ...' if len(line) > LONGEST_LINE else ''}")
    more = len(finding.items) - NUM_NAMED
    return "\n".join(lines + ([f"    and {more:,} more; --json names all"] if more > 0 else []))


def _verdict(report: Report) -> str:
    if report.is_clean:
        return "Nothing is wrong."
    count = sum(len(finding.items) for finding in report.findings if finding.is_error)
    return f"{count:,} thing{'s are' if count > 1 else ' is'} wrong."
