#!/usr/bin/env bash
# ViT-B on one GPU: 32 images of each set a step as published, as 8 batches of 4. GPU only.
# In bf16; published is float32.
# Less memory: schedule.gradient_accumulation=16 or 32; the result is the same up to batch norm.
#
#   training/launch/one_gpu.sh OUTPUT data.root=/data/samrs --init mae_vit_b.pth \
#       [more ARGUMENTS of training/pretrain.py]
#   SCRIPT=training/finetune.py training/launch/one_gpu.sh OUTPUT \
#       --recipe change_detection/levir --result vit_b_rvsa_mtp data.root=/data/levir
# Detection takes 4 images a step: schedule.gradient_accumulation=1 after it.
set -euo pipefail
output=$1
shift
# No launcher: a signal to save and leave reaches the training itself.
exec training/launch/start_or_resume.sh "$output" --recipe pretrain/samrs --result vit_b_rvsa \
    schedule.gradient_accumulation=8 efficiency.mixed_precision=bf16 "$@"
