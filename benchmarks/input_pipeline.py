"""Training samples ready per second in one worker, with all annotations, and where the time goes.

What a worker does: read a row, decode, augment as the published recipe says, pad into a batch of
two. The data set is `scene_rows.py`'s, in memory; the note of a row says how large it is.
"""

import functools
import itertools
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.report import Row
from benchmarks.scene_rows import make_rows
from benchmarks.timing import format_seconds, use_threads
from mtp_hf.data.collate import Collate
from mtp_hf.data.multi_dataset import MultiDatasetBatchSampler, MultiSourceDataset, SourceDataset
from mtp_hf.data.samples import samrs_row_to_sample
from mtp_hf.data.transforms import (
    Compose,
    RejectedSampleError,
    Transform,
    pretraining_train_transforms,
)

THREADS = 1
IMAGE_SIZE = 448  # of the network
# Set of the demo, file format, side of the stored picture, samples a second.
CASES = (("sior", "JPEG", 800, 60.0), ("sota_rbb", "PNG", 1024, 15.0))


def run(quick: bool) -> list[Row]:
    """Measure both kinds of files: samples a second, then every step by itself."""
    image_size = 64 if quick else IMAGE_SIZE
    rows: list[Row] = []
    for config, image_format, side, target in CASES:
        side = 128 if quick else side
        num_rows, num_samples = (2, 4) if quick else (32, 256)
        table, means = make_rows(config, image_format, side, num_rows)
        read = functools.partial(samrs_row_to_sample, dataset=config)
        source = SourceDataset(config, table, read, pretraining_train_transforms(image_size))
        with use_threads(THREADS):
            seconds = _seconds_of_batches(source, image_size, num_samples)
            steps = _seconds_of_steps(source, image_size, num_samples)
        name = f"{side}-pixel {image_format}"
        made_of = f"{means['objects']:.1f} objects and {means['kB']:,.0f} kB an image"
        rows.append(
            Row(
                case=f"{name} to {image_size} px",
                value=num_samples / seconds,
                unit="samples/s",
                at_least=target,
                note=f"one worker; {made_of}; {num_rows} images, {num_samples} samples",
            )
        )
        rows += [
            Row(case=f"{name}: {step}", value=1000 * mean, unit="ms", note=f"median {median}")
            for step, (mean, median) in steps.items()
        ]
    return rows


def _seconds_of_batches(source: SourceDataset, image_size: int, num_samples: int) -> float:
    """Time what a worker does for `num_samples` samples, after a few that do not count."""
    dataset, collate = MultiSourceDataset({source.name: source}), Collate(image_size)
    batches = _batches(source)
    for keys in itertools.islice(batches, 2):
        collate([dataset[key] for key in keys])
    started = time.perf_counter()
    for keys in itertools.islice(batches, num_samples // 2):
        collate([dataset[key] for key in keys])
    return time.perf_counter() - started


def _batches(source: SourceDataset) -> Iterator:
    sampler = MultiDatasetBatchSampler({source.name: len(source)}, {source.name: 2}, 10**6)
    return iter(sampler)


def _seconds_of_steps(
    source: SourceDataset, image_size: int, num_samples: int
) -> dict[str, tuple[float, str]]:
    """Time every step of each sample: mean seconds, and the median in words."""
    steps = _named_steps(source)
    seconds: dict[str, list[float]] = {name: [] for name in ["row", *steps, "collate"]}
    collate, rng = Collate(image_size), np.random.default_rng(0)
    for number in range(num_samples):
        started = time.perf_counter()
        sample = source.rows[number % len(source)]
        seconds["row"].append(time.perf_counter() - started)
        try:
            for name, step in steps.items():
                started = time.perf_counter()
                sample = step(sample, rng)
                seconds[name].append(time.perf_counter() - started)
        except RejectedSampleError:
            continue
        started = time.perf_counter()
        collate([sample])
        seconds["collate"].append(time.perf_counter() - started)
    return {
        name: (float(np.mean(all_seconds)), format_seconds(float(np.median(all_seconds))))
        for name, all_seconds in seconds.items()
    }


def _named_steps(source: SourceDataset) -> dict[str, Transform]:
    """Reader and transforms by name, all with the signature of a transform."""
    assert isinstance(source.transforms, Compose)
    named = {getattr(t, "__name__", type(t).__name__): t for t in source.transforms.transforms}
    return {"read": lambda row, rng: source.row_to_sample(row), **named}
