#!/usr/bin/env bash
# Two processes on processors, to try what several do; `accelerate launch --cpu` would start one.
#
#   training/launch/two_cpu_processes.sh [ARGUMENTS of training/pretrain.py; default: the demo]
#   SCRIPT=training/finetune.py training/launch/two_cpu_processes.sh --recipe ... --result ...
set -euo pipefail
export ACCELERATE_USE_CPU=true OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec torchrun --standalone --nproc_per_node 2 "${SCRIPT:-training/pretrain.py}" "$@"
