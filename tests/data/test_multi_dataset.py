import pickle
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch

from mtp_hf.data.multi_dataset import (
    MultiDatasetBatchSampler,
    MultiSourceDataset,
    SampleError,
    SampleKey,
    SequentialBatchSampler,
    SourceDataset,
    build_eval_loader,
    build_train_loader,
)
from mtp_hf.data.samples import samrs_row_to_sample
from mtp_hf.data.schema import check_sample
from mtp_hf.data.transforms import (
    RejectedSampleError,
    pretraining_eval_transforms,
    pretraining_train_transforms,
)
from mtp_hf.dataset_scripts.loading import load_dataset

LENGTHS = {"sota": 5, "sior": 7, "fast": 3}
SIZES = {"sota": 2, "sior": 1, "fast": 3}


def _sampler(**changes):
    return MultiDatasetBatchSampler(
        **{"lengths": LENGTHS, "batch_sizes": SIZES, "num_steps": 12, **changes}
    )


def _sources(draw_scene, transforms=None):
    return {
        name: SourceDataset(
            name,
            [draw_scene(100 * length + i) for i in range(length)],
            partial(samrs_row_to_sample, dataset=name, num_classes=6),
            transforms or pretraining_train_transforms(48),
        )
        for name, length in LENGTHS.items()
    }


def _assert_equal(first, second):
    assert torch.equal(first["pixel_values"], second["pixel_values"])
    for label1, label2 in zip(first["labels"], second["labels"], strict=True):
        assert set(label1) == set(label2)
        for key, value in label1.items():
            same = label2[key] == value
            assert same.all() if isinstance(value, torch.Tensor) else same


# The order of the batches


def test_positions_count_on_from_step_to_step():
    steps = list(_sampler(batch_sizes={"sota": 0, "sior": 0, "fast": 2}, num_steps=3))
    assert [[key.position for key in step] for step in steps] == [[0, 1], [2, 3], [4, 5]]
    assert [[key.epoch for key in step] for step in steps] == [[0, 0], [0, 1], [1, 1]]


def test_batches_are_in_dataset_order_with_the_asked_sizes():
    for step in _sampler():
        assert [key.source for key in step] == ["sota"] * 2 + ["sior"] + ["fast"] * 3


def test_each_epoch_reads_every_row_once_in_its_own_order():
    keys = [key for step in _sampler(num_steps=35) for key in step]
    for name, length in LENGTHS.items():
        orders = [
            [k.index for k in keys if k.source == name and k.epoch == epoch] for epoch in range(5)
        ]
        assert all(sorted(order) == list(range(length)) for order in orders)
        assert len({tuple(order) for order in orders}) > 1


def test_datasets_of_equal_length_have_different_orders():
    sampler = _sampler(
        lengths={"a": 50, "b": 50, "c": 50}, batch_sizes=dict.fromkeys("abc", 50), num_steps=1
    )
    keys = sampler.batch(0)
    orders = [[k.index for k in keys if k.source == name] for name in "abc"]
    assert orders[0] != orders[1] != orders[2]


def test_seed_changes_the_order():
    lengths = {"a": 50}
    orders = [
        [k.index for k in _sampler(lengths=lengths, batch_sizes=lengths, seed=seed).batch(0)]
        for seed in (0, 1, 0)
    ]
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("start", [0, 1, 5, 11, 12])
def test_a_resumed_order_is_the_tail_of_the_whole(start):
    assert list(_sampler(start_step=start)) == list(_sampler())[start:]
    assert len(_sampler(start_step=start)) == 12 - start


def test_two_processes_share_the_batch_of_one_with_twice_the_size():
    double = {name: 2 * size for name, size in SIZES.items()}
    whole = list(_sampler(batch_sizes=double))
    shards = [list(_sampler(rank=rank, world_size=2)) for rank in range(2)]
    for step, batch in enumerate(whole):
        for name in LENGTHS:
            parts = [k for shard in shards for k in shard[step] if k.source == name]
            assert parts == [k for k in batch if k.source == name]


def test_batch_size_zero_leaves_a_dataset_out_and_does_not_move_the_others():
    without = list(_sampler(batch_sizes={**SIZES, "sior": 0}))
    assert without == [[k for k in step if k.source != "sior"] for step in _sampler()]


def test_a_single_row_repeats():
    sampler = _sampler(lengths={"a": 1}, batch_sizes={"a": 3}, num_steps=2)
    assert [(k.index, k.epoch, k.position) for k in sampler.batch(1)] == [
        (0, 3, 3),
        (0, 4, 4),
        (0, 5, 5),
    ]


def test_a_batch_may_span_many_epochs():
    keys = _sampler(lengths={"a": 3}, batch_sizes={"a": 10}, num_steps=1).batch(0)
    assert Counter(k.epoch for k in keys) == {0: 3, 1: 3, 2: 3, 3: 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_sizes": {"sota": 1}},
        {"batch_sizes": dict.fromkeys(LENGTHS, 0)},
        {"batch_sizes": {**SIZES, "sota": -1}},
        {"lengths": {**LENGTHS, "fast": 0}},
        {"rank": 2, "world_size": 2},
    ],
)
def test_impossible_settings_are_errors(changes):
    with pytest.raises(ValueError):
        _sampler(**changes)


# Reading and augmenting


def test_a_sample_is_a_function_of_seed_epoch_and_position(draw_scene):
    sources = _sources(draw_scene)
    key = SampleKey("sior", 2, 1, 9)
    sample = MultiSourceDataset(sources, seed=3)[key]
    check_sample(sample, num_classes=6)
    again = MultiSourceDataset(_sources(draw_scene), seed=3)[key]
    assert torch.equal(sample["image"], again["image"])
    others = [
        MultiSourceDataset(sources, seed=4)[key],
        MultiSourceDataset(sources, seed=3)[SampleKey("sior", 2, 2, 16)],
        MultiSourceDataset(sources, seed=3)[SampleKey("sior", 2, 1, 10)],
    ]
    for other in others:
        assert not torch.equal(sample["image"][:, :20, :20], other["image"][:, :20, :20])


def _reject_even(sample, rng):
    if sample["value"] % 2 == 0:
        raise RejectedSampleError("even")
    return {**sample, "draw": rng.random()}


def _values(count):
    rows = [{"image_id": f"image-{i}", "value": i} for i in range(count)]
    return SourceDataset("numbers", rows, dict, _reject_even)


def test_rejected_images_are_replaced_and_counted():
    dataset = MultiSourceDataset({"numbers": _values(6)})
    samples = [dataset[SampleKey("numbers", 2, 0, p)] for p in range(20)]
    assert all(s["value"] % 2 == 1 for s in samples)
    assert min(s["num_redrawn"] for s in samples) == 1
    assert len({s["value"] for s in samples}) == 3
    assert dataset[SampleKey("numbers", 3, 0, 0)]["num_redrawn"] == 0


def test_replacements_are_reproducible():
    keys = [SampleKey("numbers", 0, 0, p) for p in range(5)]
    runs = [[MultiSourceDataset({"numbers": _values(6)})[k] for k in keys] for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_dataset_that_rejects_everything_is_named():
    dataset = MultiSourceDataset({"numbers": _values(1)})
    with pytest.raises(SampleError, match="'numbers'.*21 images"):
        dataset[SampleKey("numbers", 0, 0, 0)]


def test_errors_name_dataset_row_and_image():
    def fail(row):
        raise KeyError("objects")

    rows = [{"image_id": "P7"}]
    dataset = MultiSourceDataset({"sota": SourceDataset("sota", rows, fail, _reject_even)})
    with pytest.raises(SampleError, match="'sota', row 0, image 'P7': KeyError: 'objects'"):
        dataset[SampleKey("sota", 0, 0, 0)]


def test_datasets_without_rows_are_refused():
    with pytest.raises(ValueError, match="numbers"):
        MultiSourceDataset({"numbers": _values(0)})


# Loaders


def test_any_number_of_workers_gives_the_same_bytes(draw_scene):
    sources = _sources(draw_scene)
    loaders = [
        build_train_loader(sources, _sampler(num_steps=6), image_size=48, num_workers=n)
        for n in (0, 2)
    ]
    batches = [list(loader) for loader in loaders]
    assert [len(b) for b in batches] == [6, 6]
    for first, second in zip(*batches, strict=True):
        _assert_equal(first, second)


def test_a_resumed_loader_gives_the_tail(draw_scene):
    sources = _sources(draw_scene)
    whole = list(build_train_loader(sources, _sampler(num_steps=5), image_size=48, num_workers=0))
    tail = build_train_loader(
        sources, _sampler(num_steps=5, start_step=3), image_size=48, num_workers=0
    )
    assert len(tail) == 2
    for first, second in zip(whole[3:], tail, strict=True):
        _assert_equal(first, second)


def test_train_batches_follow_the_contract(draw_scene):
    loader = build_train_loader(
        _sources(draw_scene), _sampler(num_steps=2), image_size=48, num_workers=0
    )
    for batch in loader:
        assert batch["pixel_values"].shape == (6, 3, 48, 48)
        assert [label["dataset"] for label in batch["labels"]] == ["sota"] * 2 + ["sior"] + [
            "fast"
        ] * 3
        for label in batch["labels"]:
            assert label["semantic_labels"].shape == (48, 48)
            assert label["num_redrawn"] == 0
            assert label["dropped"]["degenerate_polygons"] == 0


def test_loading_leaves_torch_randomness_alone(draw_scene):
    before = torch.get_rng_state()
    next(iter(build_train_loader(_sources(draw_scene), _sampler(), image_size=48, num_workers=0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_everything_a_worker_needs_can_be_sent_to_it(draw_scene):
    dataset = MultiSourceDataset(_sources(draw_scene), seed=1)
    key = SampleKey("fast", 0, 0, 0)
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[pickle.loads(pickle.dumps(key))]["image"], dataset[key]["image"])


def test_eval_reads_every_row_once_one_source_after_the_other(draw_scene):
    sources = _sources(draw_scene, pretraining_eval_transforms(48))
    loader = build_eval_loader(sources, batch_size=2, image_size=48, num_workers=2)
    batches = [[(x["dataset"], x["image_id"]) for x in batch["labels"]] for batch in loader]
    assert [len(b) for b in batches] == [2, 2, 1, 2, 2, 2, 1, 2, 1]
    expected = [(n, row["image_id"]) for n, source in sources.items() for row in source.rows]
    assert [x for batch in batches for x in batch] == expected


@pytest.mark.parametrize("world_size", [1, 2, 4, 9])
def test_eval_shards_cover_every_row_without_duplicates(world_size):
    shards = [
        [k for b in SequentialBatchSampler(LENGTHS, 2, rank=r, world_size=world_size) for k in b]
        for r in range(world_size)
    ]
    keys = [(k.source, k.index) for shard in shards for k in shard]
    assert sorted(keys) == sorted((n, i) for n, count in LENGTHS.items() for i in range(count))


def test_eval_batches_do_not_mix_sources():
    sampler = SequentialBatchSampler(LENGTHS, 4)
    assert len(list(sampler)) == len(sampler) == 5
    assert all(len({k.source for k in batch}) == 1 for batch in sampler)


# With real files


@pytest.mark.parametrize(("config", "num_classes"), [("sota_rbb", 18), ("sior", 20), ("fast", 37)])
def test_rows_of_the_samrs_builder_pass_through(config, num_classes, shared_dir, tmp_path):
    folder = shared_dir / "data" / "samrs_mini"
    rows = load_dataset("samrs", config, data_dir=folder, split="train[:4]", cache_dir=tmp_path)
    reader = partial(samrs_row_to_sample, dataset=config, num_classes=num_classes)
    source = SourceDataset(config, rows, reader, pretraining_train_transforms(224))
    dataset = MultiSourceDataset({config: source})
    for index in range(4):
        sample = dataset[SampleKey(config, index, 0, index)]
        check_sample(sample, num_classes)
        assert np.prod(sample["image"].shape[1:]) > 100 * 100
