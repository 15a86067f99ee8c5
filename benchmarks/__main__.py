"""Run benchmarks and print the rows of `RESULTS.md`.

    python -m benchmarks                   # list them
    python -m benchmarks backbone          # run one
    python -m benchmarks all               # run all, some minutes
    python -m benchmarks all --quick       # tiny sizes: does everything still run?

Each is one file with `THREADS` and `run(quick) -> list[Row]`.
"""

import argparse
import dataclasses
import importlib
import sys
import time

from benchmarks.report import NotHereError, describe_machine, markdown_table
from mtp_hf.training.host_memory import keep_freed_memory

BENCHMARKS = {
    "backbone": "backbone with its pyramid against a plain ViT of the same size and input",
    "large_image": "1,024-pixel forward against attention with its logits and biases written out",
    "dcnv3": "sampling core of InternImage against one grid_sample over all taps",
    "pretraining_step": "one multi-task training step, and where its time goes",
    "finetune_step": "one step of finetuning of each task, and where its time goes",
    "evaluation": "evaluation in two processes against one",
    "rotated_nms": "suppression among 2,000 rotated boxes of 15 classes",
    "rotated_roi_align": "pooling of 512 rotated regions",
    "rotated_map": "mean average precision of 100,000 rotated detections",
    "input_pipeline": "training samples ready per second and worker, and each transform",
    "datasets": "tiles ready for the model, memory while they are cut, label files read",
    "gpu": "backbone on a GPU: eager, compiled, bf16, memory, share of peak",
    "gpu_operators": "deformable convolution by Triton and pooling of rotated regions, on a GPU",
    "gpu_attention": "ways to add relative positions to full attention, on a GPU",
}
# Not for `all`: they have options of their own.
COMMANDS = {
    "kill_and_resume": "a training run killed twenty times, against the unbroken one",
    "finetune_small": "a small model of each task, trained until it knows a few real images",
}


def main(arguments: list[str] | None = None) -> int:
    """List or run; return the number of benchmarks that could not run because they failed."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.split("\n")[0])
    names = [*BENCHMARKS, "all"]
    parser.add_argument("name", nargs="?", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="tiny sizes; the numbers mean nothing")
    options = parser.parse_args(arguments)
    if options.name is None:
        print(list_benchmarks())
        return 0
    keep_freed_memory()  # as training on a CPU does; for both sides alike
    print(describe_machine(), flush=True)
    chosen = list(BENCHMARKS) if options.name == "all" else [options.name]
    return sum(not run_one(name, options.quick) for name in chosen)


def list_benchmarks() -> str:
    """Return one line for each."""
    lines = {**BENCHMARKS}
    for name, about in COMMANDS.items():
        lines[name] = f"{about}; python -m benchmarks.{name} --help"
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {about}" for name, about in lines.items())


def run_one(name: str, quick: bool) -> bool:
    """Run a benchmark and print its table; tell whether it came to its end."""
    benchmark = importlib.import_module(f"benchmarks.{name}")
    command = f"python -m benchmarks {name}" + " --quick" * quick
    threads = f"{benchmark.THREADS} thread" + "s" * (benchmark.THREADS != 1)
    about = BENCHMARKS[name]
    print(f"\n### {about[0].upper()}{about[1:]}\n", flush=True)
    started = time.perf_counter()
    try:
        rows = benchmark.run(quick)
    except NotHereError as error:
        print(f"`{command}`: not run, {error}", flush=True)
        return True
    except Exception as error:
        # The others still run; the exit status tells.
        print(f"`{command}`: failed, {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return False
    if quick:  # targets are for full sizes
        rows = [dataclasses.replace(row, at_most=None, at_least=None) for row in rows]
    seconds = time.perf_counter() - started
    print(f"`{command}`, {threads}, {seconds:.0f} s.\n\n{markdown_table(rows)}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
