"""`mtp-hf push`: the two networks of a finished run to the Hub, by hand."""

import argparse
from pathlib import Path

import httpx2
from huggingface_hub import HfApi

from mtp_hf.hub.push import (
    DEFAULT_NAMESPACE,
    check_access,
    check_run_folder,
    failure_reason,
    push_run,
    repo_names,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("folder", type=Path, help="output folder of a run: holds encoder/ and model/")
    add("repo", help="for encoder/; model/ goes to REPO-pretraining")
    add("--namespace", help=f"user or organization where REPO has none ({DEFAULT_NAMESPACE})")
    add("--private", action="store_true", help="make the repositories private")


def run(args: argparse.Namespace) -> None:
    """Push, and print where it went.

    Raises:
        ValueError: something that the user can change; nothing or only one commit was made.
    """
    names = repo_names(args.repo, args.namespace)
    check_run_folder(args.folder)
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
