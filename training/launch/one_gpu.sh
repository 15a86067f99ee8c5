#!/usr/bin/env bash
# ViT-B on one GPU: 32 images of each set a step as published, as 8 batches of 4. GPU only.
# In bf16; published is float32.
# Less memory: schedule.gradient_accumulation=16 or 32; the result is the same up to batch norm.
#
#   training/launch/one_gpu.sh OUTPUT data.root=/data/samrs [more ARGUMENTS of training/pretrain.py]
set -euo pipefail
output=$1
shift
exec accelerate launch --num_machines 1 --num_processes 1 --mixed_precision bf16 \
    --dynamo_backend no --no_python \
    training/launch/start_or_resume.sh "$output" \
    --recipe pretrain/samrs --result vit_b_rvsa schedule.gradient_accumulation=8 "$@"
