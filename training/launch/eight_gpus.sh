#!/usr/bin/env bash
# ViT-L on the eight GPUs of one machine: 32 images of each set a step as published, 4 on each GPU.
# GPU only. In bf16; published is float32.
# CONFIG=training/launch/fsdp2.yaml or deepspeed_zero2.yaml shares optimizer states out.
#
#   training/launch/eight_gpus.sh OUTPUT data.root=/data/samrs --init mae_vit_l.pth \
#       [more ARGUMENTS of training/pretrain.py]
#   SCRIPT=training/finetune.py training/launch/eight_gpus.sh OUTPUT \
#       --recipe change_detection/levir --result vit_l_rvsa_mtp data.root=/data/levir
# Detection takes 4 images a step: PROCESSES=4 before it.
set -euo pipefail
output=$1
shift
exec accelerate launch --config_file "${CONFIG:-training/launch/eight_gpus.yaml}" \
    --num_processes "${PROCESSES:-8}" --no_python \
    training/launch/start_or_resume.sh "$output" --recipe pretrain/samrs --result vit_l_rvsa "$@"
