"""`mtp-hf data push`: convert a data set and push it to the Hub.

Whether others may see it is said each time: the terms of most sets do not let you pass them on.
"""

import argparse
import shutil
from concurrent.futures import BrokenExecutor
from pathlib import Path

import datasets
import httpx2
from huggingface_hub import HfApi

from mtp_hf.dataset_scripts.facts import FACTS
from mtp_hf.datasets_command.arguments import add_source, source_of
from mtp_hf.datasets_command.convert_action import add_conversion, convert
from mtp_hf.datasets_command.dataset_card import render_card
from mtp_hf.datasets_command.dataset_push import REPO_TYPE, check_remote, push_folder
from mtp_hf.datasets_command.families import family_of
from mtp_hf.datasets_command.source import Source
from mtp_hf.hub.bundle import ENCODER
from mtp_hf.hub.push import DEFAULT_NAMESPACE, check_access, failure_reason, repo_names

WORK_FOLDER = "mtp_hf_push"  # in the cache of `datasets`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action."""
    add_source(parser)
    add = parser.add_argument
    add("repo", metavar="REPO", help="name or namespace/name of the data set on the Hub")
    add("--namespace", help=f"user or organization where REPO has none ({DEFAULT_NAMESPACE})")
    visibility = parser.add_mutually_exclusive_group(required=True)
    visibility.add_argument("--private", action="store_true", help="only you may see it")
    visibility.add_argument(
        "--public", action="store_true", help="everybody may see it; mind the terms of the set"
    )
    add("--parquet", type=Path, metavar="FOLDER", help="keep the converted folder here")
    add_conversion(parser)


def run(args: argparse.Namespace) -> None:
    """Convert, push, and print where it went.

    Raises:
        ValueError: something that the user can change; the same command goes on from there.
    """
    source = source_of(args)
    repo = repo_names(args.repo, args.namespace)[ENCODER]
    api = HfApi(library_name="mtp-hf")
    if source.name in FACTS:
        print(f"{source}: terms: {FACTS[source.name].terms}")
    try:
        names = {REPO_TYPE: repo}
        check_access(api, names, private=args.private, repo_type=REPO_TYPE)
        check_remote(api, repo, source)  # before the long part
        out = args.parquet or _work_folder(source)
        address = _convert_and_push(api, source, out, repo, args)
    except BrokenExecutor:
        raise
    except (httpx2.HTTPError, RuntimeError) as error:
        raise ValueError(f"{failure_reason(error)}; the same command goes on from there") from None
    if args.parquet is None:
        shutil.rmtree(out)
    print(f"{repo}: {address}")


def _convert_and_push(
    api: HfApi, source: Source, out: Path, repo: str, args: argparse.Namespace
) -> str:
    plan = convert(source, out, shard_mb=args.shard_mb, num_proc=args.num_proc)
    builder = source.open()
    card = render_card(plan, family_of(builder), builder.info.features, repo)
    earlier = check_remote(api, repo, source)
    return push_folder(api, out, repo, private=args.private, card=card, earlier=earlier)


def _work_folder(source: Source) -> Path:
    """A folder of its own for every state of the files, found again by the same command."""
    config = source.open().config
    options = "-".join(f"{key}={value}" for key, value in sorted(source.options.items()))
    name = "-".join(filter(None, [source.name, source.config, config.fingerprint(), options]))
    return Path(datasets.config.HF_DATASETS_CACHE) / WORK_FOLDER / name.replace("/", "_")
