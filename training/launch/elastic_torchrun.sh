#!/usr/bin/env bash
# ViT-L on 16 machines with 2 GPUs each, without a scheduler: run the same command on every machine.
# When a process or a machine is lost, torchrun restarts all processes, which go on from the newest
# checkpoint. NODES is fixed, because not every number of processes shares the batches equally;
# machines beyond it wait and replace lost ones. GPU only, or with ACCELERATE_USE_CPU=true.
#
#   HOST=first-machine training/launch/elastic_torchrun.sh OUTPUT data.root=/data/samrs \
#       --init mae_vit_l.pth [more ARGUMENTS of training/pretrain.py]
#
# SCRIPT=training/finetune.py before it finetunes; --recipe and --result then follow OUTPUT.
set -euo pipefail
output=$1
shift
# A store for each restart: in a shared one the new processes find addresses of the lost ones.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
exec torchrun --nnodes "${NODES:-16}" --nproc_per_node "${PROCESSES_PER_NODE:-2}" \
    --max_restarts "${MAX_RESTARTS:-10}" --shutdown_timeout 120 \
    --rdzv_backend c10d --rdzv_id "${RUN_ID:-mtp}" --rdzv_endpoint "$HOST:${PORT:-29400}" \
    --no_python \
    training/launch/start_or_resume.sh "$output" \
    --recipe pretrain/samrs --result vit_l_rvsa efficiency.mixed_precision=bf16 "$@"
