"""Several datasets in one batch: each cycles at its own pace, all randomness is addressable.

A batch is named by its step alone. Which row is read and how it is augmented is a pure function
of (seed, dataset, epoch, position), so any number of workers gives the same batches and a run
continues at any step without replaying the ones before.

Differs: the original zips one loader per dataset and starts a new epoch when the shortest ends
(spec 2.10); rows at the tail of the long ones wait for a lucky shuffle. Here each dataset runs
through all of its rows before any of them repeats, and batch sizes may differ or be zero.
"""

import resource
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from mtp_hf.data.collate import Collate
from mtp_hf.data.schema import RawSample, Sample
from mtp_hf.data.transforms import RejectedSampleError

# An image without a single usable instance is rare; this many in a row is a broken dataset.
_MAX_REDRAWS = 20
_MAX_OPEN_FILES = 65_536


class SampleError(ValueError):
    """An image cannot be made a sample; the message names data set, row and image.

    A worker process hands an error on as text with its traceback; `str` gives the message alone.
    """

    def __str__(self) -> str:
        return super().__str__().rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip()


@dataclass(frozen=True, slots=True)
class SampleKey:
    """Address of one training image.

    `position` counts the images drawn from the source since step 0, over all processes;
    `epoch` is `position` divided by the source's length; `index` is the row.
    """

    source: str
    index: int
    epoch: int
    position: int


@dataclass(frozen=True)
class SourceDataset:
    """Rows of one dataset and how they become samples.

    Args:
        name: Dataset name, a key of the model's `class_names`.
        rows: Hugging Face `Dataset` or any sequence of rows.
        row_to_sample: Reader, e.g. `functools.partial(samrs_row_to_sample, dataset=name)`.
        transforms: `(raw sample, rng) -> sample`; must end in `finalize`.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    row_to_sample: Callable[[Mapping[str, Any]], RawSample]
    transforms: Callable[[RawSample, np.random.Generator], Sample]

    def __len__(self) -> int:
        return len(self.rows)


class MultiSourceDataset(Dataset[Sample]):
    """Map-style dataset over several sources, indexed by `SampleKey`.

    Args:
        sources: Source of each name.
        seed: Seed of the run; every process uses the same.
    """

    def __init__(self, sources: Mapping[str, SourceDataset], seed: int = 0) -> None:
        empty = [name for name, source in sources.items() if not len(source)]
        if empty:
            raise ValueError(f"datasets without rows: {empty}")
        self.sources = dict(sources)
        self.seed = seed

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources.values())

    def __getitem__(self, key: SampleKey) -> Sample:
        """Read and transform one image; images without surviving instances are replaced.

        Differs: the replacement is drawn from the same generator, not from global state, and the
        number of draws is bounded; the original may loop forever.
        """
        source = self.sources[key.source]
        rng = _generator(self.seed, key.source, key.epoch, key.position)
        index = key.index
        for num_redrawn in range(_MAX_REDRAWS + 1):
            try:
                sample = self._read(source, index, rng)
            except RejectedSampleError:
                index = int(rng.integers(len(source)))
                continue
            sample["num_redrawn"] = num_redrawn
            return sample
        raise SampleError(
            f"dataset {key.source!r}: no instance survived the transforms in "
            f"{_MAX_REDRAWS + 1} images drawn for {key}"
        )

    def _read(self, source: SourceDataset, index: int, rng: np.random.Generator) -> Sample:
        """Read row `index`; errors name dataset, row and image."""
        image_id: Any = "unknown"
        try:
            row = source.rows[index]
            image_id = row.get("image_id", image_id)
            return source.transforms(source.row_to_sample(row), rng)
        except RejectedSampleError:
            raise
        except Exception as error:
            raise SampleError(
                f"dataset {source.name!r}, row {index}, image {image_id!r}: "
                f"{type(error).__name__}: {error}"
            ) from error


class MultiDatasetBatchSampler(Sampler[list[SampleKey]]):
    """Batches of keys for one process, as a pure function of the step.

    At step s, process r takes from a dataset with batch size b the positions
    p = s * b * world_size + r * b + j, j < b. Position p is row `permutation(epoch)[p % length]`
    with epoch = p // length. The keys of a batch are in dataset order.

    Args:
        lengths: Number of rows of each dataset.
        batch_sizes: Images of each dataset per process and step; 0 leaves it out.
        num_steps: Steps of the whole run.
        seed: Seed of the run; every process uses the same.
        rank: This process.
        world_size: Number of processes.
        start_step: First step to yield, to resume.
    """

    def __init__(
        self,
        lengths: Mapping[str, int],
        batch_sizes: Mapping[str, int],
        num_steps: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
    ) -> None:
        if set(lengths) != set(batch_sizes):
            raise ValueError(f"lengths of {set(lengths)}, batch sizes of {set(batch_sizes)}")
        if min(batch_sizes.values()) < 0 or not any(batch_sizes.values()):
            raise ValueError(f"batch sizes {dict(batch_sizes)} must be >= 0 and not all 0")
        empty = [name for name, size in batch_sizes.items() if size and lengths[name] < 1]
        if empty:
            raise ValueError(f"datasets without rows: {empty}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not below world size {world_size}")
        self.lengths = dict(lengths)
        self.batch_sizes = dict(batch_sizes)
        self.num_steps = num_steps
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start_step = start_step
        self._permutations: dict[str, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return max(self.num_steps - self.start_step, 0)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for step in range(self.start_step, self.num_steps):
            yield self.batch(step)

    def batch(self, step: int) -> list[SampleKey]:
        """Keys of one step."""
        keys = []
        for name, size in self.batch_sizes.items():
            first = (step * self.world_size + self.rank) * size
            keys += [self._key(name, position) for position in range(first, first + size)]
        return keys

    def _key(self, name: str, position: int) -> SampleKey:
        epoch, offset = divmod(position, self.lengths[name])
        if self._permutations.get(name, (-1,))[0] != epoch:
            rng = _generator(self.seed, name, epoch)
            self._permutations[name] = (epoch, rng.permutation(self.lengths[name]))
        return SampleKey(name, int(self._permutations[name][1][offset]), epoch, position)


class SequentialBatchSampler(Sampler[list[SampleKey]]):
    """Every row once, one source after the other; batches never mix sources.

    Process r reads rows r, r + world_size, ...: shards are disjoint and cover everything, their
    lengths differ by at most one image per source.

    Args:
        lengths: Number of rows of each source.
        batch_size: Images per batch.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(
        self, lengths: Mapping[str, int], batch_size: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        self.batches = [
            [SampleKey(name, index, 0, index) for index in indices[start : start + batch_size]]
            for name, indices in (
                (n, range(rank, length, world_size)) for n, length in lengths.items()
            )
            for start in range(0, len(indices), batch_size)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        return iter(self.batches)


def build_train_loader(
    sources: Mapping[str, SourceDataset],
    sampler: MultiDatasetBatchSampler,
    *,
    image_size: int | None,
    num_workers: int = 2,
    prefetch_factor: int = 2,
) -> DataLoader:
    """Loader of training batches that decodes and augments in `num_workers` processes.

    Args:
        sources: Source of each name in the sampler.
        sampler: Says what is read at which step; its seed also seeds the augmentation.
        image_size: Side of the square canvas, pixels; None pads to multiples of 32.
        num_workers: 0 reads in the calling process.
        prefetch_factor: Batches that each worker prepares ahead.
    """
    dataset = MultiSourceDataset(sources, seed=sampler.seed)
    return _loader(dataset, sampler, Collate(image_size), num_workers, prefetch_factor)


def build_eval_loader(
    sources: Mapping[str, SourceDataset],
    *,
    batch_size: int = 1,
    image_size: int | None = None,
    num_workers: int = 2,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader:
    """Loader that reads every row once, one source after the other.

    Args:
        sources: Sources in the order to read them.
        batch_size: Images per batch.
        image_size: Side of the square canvas, pixels; None pads to multiples of 32.
        num_workers: 0 reads in the calling process.
        rank: This process; shards share no image.
        world_size: Number of processes.
    """
    lengths = {name: len(source) for name, source in sources.items()}
    sampler = SequentialBatchSampler(lengths, batch_size, rank=rank, world_size=world_size)
    return _loader(MultiSourceDataset(sources), sampler, Collate(image_size), num_workers, 2)


def _loader(
    dataset: MultiSourceDataset,
    sampler: Sampler[list[SampleKey]],
    collate: Collate,
    num_workers: int,
    prefetch_factor: int,
) -> DataLoader:
    if num_workers:
        _allow_many_open_files()
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=_use_one_thread,
        persistent_workers=num_workers > 0,
        prefetch_factor=prefetch_factor if num_workers else None,
        pin_memory=torch.cuda.is_available(),
        # Its own: a loader that draws its workers' base seed from torch's global generator would
        # change the training that a resumed run continues. No data depends on it.
        generator=torch.Generator(),
    )


def _allow_many_open_files() -> None:
    """Raise the limit that the user may raise: a tensor from a worker is an open file here.

    Six tensors an image, a dozen images a batch and a dozen batches ahead are more than the 1,024
    that many systems start with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(_MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _use_one_thread(worker_id: int) -> None:
    """Workers are the parallelism; threads inside them would only compete."""
    torch.set_num_threads(1)


def _generator(
    seed: int, name: str, epoch: int, position: int | None = None
) -> np.random.Generator:
    """Generator of a dataset's order in an epoch, or of one image's augmentation.

    The spawn key keeps the two apart: SeedSequence pads its entropy with zeros, so the order of
    an epoch would otherwise share its stream with the image at position 0.
    """
    words = [seed, zlib.crc32(name.encode()), epoch]
    if position is None:
        return np.random.default_rng(np.random.SeedSequence(words, spawn_key=(1,)))
    return np.random.default_rng(np.random.SeedSequence([*words, position]))
