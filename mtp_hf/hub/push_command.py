"""`mtp-hf push`: what a finished run leaves to the Hub, by hand."""

import argparse
from pathlib import Path

import httpx2
from huggingface_hub import HfApi

from mtp_hf.hub.push import (
    DEFAULT_NAMESPACE,
    check_access,
    check_run_folder,
    failure_reason,
    folders_to_push,
    push_run,
    repo_names,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("folder", type=Path, help="output folder of a run: holds model/")
    add("repo", help="of pretraining: encoder/, and model/ goes to REPO-pretraining; else model/")
    add("--best", action="store_true", help="of finetuning: best/, which measured best")
    add("--namespace", help=f"user or organization where REPO has none ({DEFAULT_NAMESPACE})")
    add("--private", action="store_true", help="make the repositories private")


def run(args: argparse.Namespace) -> None:
    """Push, and print where it went.

    Raises:
        ValueError: something that the user can change; nothing or only one commit was made.
    """
    names = repo_names(args.repo, args.namespace, folders_to_push(args.folder, best=args.best))
    check_run_folder(args.folder, names)
    api = HfApi(library_name="mtp-hf")
    try:
        check_access(api, names, private=args.private)
        commits = push_run(
            api, args.folder, names, private=args.private, message="Push by mtp-hf push"
        )
    except (httpx2.HTTPError, RuntimeError) as error:
        raise ValueError(f"{failure_reason(error)}; the same command goes on from there") from None
    for name, address in commits.items():
        print(f"{name}: {address}")
