#!/usr/bin/env bash
# Start a run, or go on with it if its folder has a checkpoint. A launcher starts this once for
# every process; queued again or restarted after a failure, the same command continues the run.
#
#   start_or_resume.sh OUTPUT [ARGUMENTS of training/pretrain.py, those of the first start]
#   SCRIPT=training/finetune.py start_or_resume.sh OUTPUT [ARGUMENTS of training/finetune.py]
set -euo pipefail
output=$1
shift
if [ -f "$output/checkpoints/latest" ]; then
    how=(--resume latest)
else
    how=(--overwrite) # of a start that ended before its first checkpoint
fi
# exec: signals of the launcher reach Python itself.
exec python "${SCRIPT:-training/pretrain.py}" --output "$output" "${how[@]}" "$@"
