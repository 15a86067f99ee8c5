"""Open a data set by name: prepared once and cached, or streamed from its files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets

from mtp_hf.dataset_scripts import get_builder
from mtp_hf.dataset_scripts._options import check_options

AnyDataset = (
    datasets.Dataset
    | datasets.DatasetDict
    | datasets.IterableDataset
    | datasets.IterableDatasetDict
)


def load_dataset(
    name: str,
    config: str | None = None,
    *,
    data_dir: str | Path,
    split: str | None = None,
    streaming: bool = False,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    quiet: bool = False,
    **options: Any,
) -> AnyDataset:
    """Open a data set from the files as people download them.

    Args:
        name: one of `BUILDERS`.
        config: variant of the set; None for its first one.
        data_dir: folder of the files.
        split: such as `train`, or a slice such as `train[:100]`; None for all splits.
        streaming: read rows while they are asked for, without preparing a copy.
        cache_dir: where the prepared copy goes; None for the default of `datasets`.
        num_proc: processes that read files; None for one.
        quiet: no progress bars.
        **options: fields of the builder's config, such as `split_seed`, `on_error`, `tile_size`.

    Returns:
        A dataset, or one for each split; iterable ones if streamed.

    Raises:
        ValueError: there is no such set, config, option or split, or a file cannot be right.
        FileNotFoundError: the folder, or a part of the set in it, is not there.
    """
    with _no_progress_bars() if quiet else contextlib.nullcontext():
        builder = open_builder(name, config, data_dir=data_dir, cache_dir=cache_dir, **options)
        if streaming:
            return builder.as_streaming_dataset(split)
        builder.download_and_prepare(num_proc=num_proc)
        return builder.as_dataset(split)


def open_builder(
    name: str,
    config: str | None = None,
    *,
    data_dir: str | Path,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> datasets.DatasetBuilder:
    """Make the builder of a data set; archives are extracted, nothing is read yet.

    Args:
        name: one of `BUILDERS`.
        config: variant of the set; None for its first one.
        data_dir: folder of the files.
        cache_dir: where a prepared copy goes; None for the default of `datasets`.
        **options: fields of the builder's config.

    Raises:
        ValueError: there is no such set, config or option, an option has a value of another type,
            or an archive is damaged or dangerous.
        FileNotFoundError: the folder is not there.
    """
    builder_class = get_builder(name)
    known = list(builder_class.builder_configs)
    if config is None:
        config = known[0]
    if config not in known:
        raise ValueError(f"data set {name!r} has no config {config!r}; expected one of {known}")
    check_options(name, builder_class.builder_configs[config], options)
    return builder_class(
        config_name=config,
        data_dir=str(data_dir),
        cache_dir=None if cache_dir is None else str(cache_dir),
        **options,
    )


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    were_on = datasets.are_progress_bars_disabled() is False
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_on:
            datasets.enable_progress_bars()
